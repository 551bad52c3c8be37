# A VPC as people write it, with everything of a network that Longshore keeps: applied, planned again (which must be empty) and
# destroyed by crates/longshore/tests/cluster/terraform.rs.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

# Endpoint, region and credentials are the environment's.
provider "aws" {
  skip_metadata_api_check = true
}

data "aws_availability_zones" "all" {
  state = "available"
}

data "aws_vpc" "default" {
  default = true
}

data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

resource "aws_vpc" "main" {
  cidr_block           = "10.20.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = "main (test)" }
}

resource "aws_subnet" "public" {
  count                   = 2
  vpc_id                  = aws_vpc.main.id
  cidr_block              = cidrsubnet(aws_vpc.main.cidr_block, 8, count.index)
  availability_zone       = data.aws_availability_zones.all.names[count.index]
  map_public_ip_on_launch = true
  tags                    = { Name = "public ${count.index}" }
}

resource "aws_subnet" "private" {
  vpc_id            = aws_vpc.main.id
  cidr_block        = "10.20.128.0/20"
  availability_zone = data.aws_availability_zones.all.names[2]
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = "main" }
}

resource "aws_eip" "nat" {
  domain     = "vpc"
  tags       = { Name = "nat" }
  depends_on = [aws_internet_gateway.main]
}

resource "aws_nat_gateway" "main" {
  allocation_id = aws_eip.nat.id
  subnet_id     = aws_subnet.public[0].id
  tags          = { Name = "main" }
  depends_on    = [aws_internet_gateway.main]
}

# Routes in the table itself.
resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.main.id
  }
  tags = { Name = "public" }
}

# Routes beside the table.
resource "aws_route_table" "private" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route" "out" {
  route_table_id         = aws_route_table.private.id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.main.id
}

resource "aws_route_table_association" "public" {
  count          = 2
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table_association" "private" {
  subnet_id      = aws_subnet.private.id
  route_table_id = aws_route_table.private.id
}

# Rules in the group itself.
resource "aws_security_group" "web" {
  name        = "web"
  description = "from everywhere"
  vpc_id      = aws_vpc.main.id
  ingress {
    description      = "http"
    from_port        = 80
    to_port          = 80
    protocol         = "tcp"
    cidr_blocks      = ["0.0.0.0/0", "10.0.0.0/8"]
    ipv6_cidr_blocks = ["::/0"]
  }
  ingress {
    from_port = 0
    to_port   = 0
    protocol  = "-1"
    self      = true
  }
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
  tags = { Name = "web" }
}

# Rules beside the group.
resource "aws_security_group" "app" {
  name   = "app"
  vpc_id = aws_vpc.main.id
}

resource "aws_vpc_security_group_ingress_rule" "from_web" {
  security_group_id            = aws_security_group.app.id
  referenced_security_group_id = aws_security_group.web.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8081
  description                  = "from web"
  tags                         = { Name = "from web" }
}

resource "aws_vpc_security_group_ingress_rule" "ping" {
  security_group_id = aws_security_group.app.id
  cidr_ipv4         = "10.20.0.0/16"
  ip_protocol       = "icmp"
  from_port         = 8
  to_port           = 0
}

resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.app.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_network_interface" "fixed" {
  subnet_id       = aws_subnet.private.id
  private_ips     = ["10.20.128.50", "10.20.128.51"]
  security_groups = [aws_security_group.app.id]
  description     = "by hand"
  tags            = { Name = "fixed" }
}

resource "aws_network_interface" "any" {
  subnet_id         = aws_subnet.public[1].id
  source_dest_check = false
}

resource "aws_eip" "interface" {
  network_interface = aws_network_interface.any.id
  depends_on        = [aws_internet_gateway.main]
}

data "aws_subnet" "private" {
  id = aws_subnet.private.id
}

data "aws_security_group" "web" {
  vpc_id     = aws_vpc.main.id
  name       = "web"
  depends_on = [aws_security_group.web]
}

data "aws_route_table" "private" {
  subnet_id  = aws_subnet.private.id
  depends_on = [aws_route_table_association.private, aws_route.out]
}

data "aws_internet_gateway" "main" {
  filter {
    name   = "attachment.vpc-id"
    values = [aws_vpc.main.id]
  }
  depends_on = [aws_internet_gateway.main]
}

data "aws_nat_gateway" "main" {
  vpc_id     = aws_vpc.main.id
  depends_on = [aws_nat_gateway.main]
}

data "aws_vpc" "main" {
  id = aws_vpc.main.id
}

output "seen" {
  value = {
    zones           = length(data.aws_availability_zones.all.names)
    default_subnets = length(data.aws_subnets.default.ids)
    default_cidr    = data.aws_vpc.default.cidr_block
    subnet          = data.aws_subnet.private.cidr_block
    group           = data.aws_security_group.web.description
    table           = data.aws_route_table.private.id == aws_route_table.private.id
    gateway         = data.aws_internet_gateway.main.id == aws_internet_gateway.main.id
    nat             = data.aws_nat_gateway.main.public_ip == aws_eip.nat.public_ip
    nat_state       = data.aws_nat_gateway.main.state
    main_table      = data.aws_vpc.main.main_route_table_id == aws_vpc.main.main_route_table_id
  }
}
