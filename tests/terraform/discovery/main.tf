# Names in Cloud Map as people write them, and services of ECS that are found under them: applied, planned again (which must be empty) and
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

data "aws_vpc" "default" {
  default = true
}

data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

resource "aws_service_discovery_private_dns_namespace" "shop" {
  name        = "shop.local"
  description = "what we sell"
  vpc         = data.aws_vpc.default.id
  tags        = { Name = "shop" }
}

resource "aws_service_discovery_http_namespace" "api" {
  name = "api"
}

resource "aws_service_discovery_service" "web" {
  name        = "web"
  description = "the front"
  dns_config {
    namespace_id = aws_service_discovery_private_dns_namespace.shop.id
    dns_records {
      type = "A"
      ttl  = 10
    }
    routing_policy = "MULTIVALUE"
  }
  health_check_custom_config {
    failure_threshold = 1
  }
  tags = { Name = "web" }
}

resource "aws_service_discovery_service" "ports" {
  name = "ports"
  dns_config {
    namespace_id = aws_service_discovery_private_dns_namespace.shop.id
    dns_records {
      type = "SRV"
      ttl  = 30
    }
    routing_policy = "WEIGHTED"
  }
}

resource "aws_service_discovery_service" "plain" {
  name         = "plain"
  namespace_id = aws_service_discovery_http_namespace.api.id
}

resource "aws_service_discovery_instance" "old" {
  instance_id = "old"
  service_id  = aws_service_discovery_service.plain.id
  attributes = {
    AWS_INSTANCE_IPV4 = "10.0.0.7"
    colour            = "grey"
  }
}

resource "aws_ecs_cluster" "main" {
  name = "shop"
}

resource "aws_ecs_task_definition" "own" {
  family       = "own"
  network_mode = "awsvpc"
  container_definitions = jsonencode([{
    name = "app", image = "busybox", memory = 16, essential = true, portMappings = [{ containerPort = 80, hostPort = 80, protocol = "tcp" }]
  }])
}

resource "aws_ecs_task_definition" "shared" {
  family       = "shared"
  network_mode = "bridge"
  container_definitions = jsonencode([{
    name = "app", image = "busybox", memory = 16, essential = true, portMappings = [{ containerPort = 80, hostPort = 0, protocol = "tcp" }]
  }])
}

# Nothing runs: there is no instance.
resource "aws_ecs_service" "own" {
  name            = "own"
  cluster         = aws_ecs_cluster.main.id
  task_definition = aws_ecs_task_definition.own.arn
  desired_count   = 1
  network_configuration {
    subnets = data.aws_subnets.default.ids
  }
  service_registries {
    registry_arn = aws_service_discovery_service.web.arn
  }
}

resource "aws_ecs_service" "shared" {
  name            = "shared"
  cluster         = aws_ecs_cluster.main.id
  task_definition = aws_ecs_task_definition.shared.arn
  desired_count   = 1
  service_registries {
    registry_arn   = aws_service_discovery_service.ports.arn
    container_name = "app"
    container_port = 80
  }
}

data "aws_service_discovery_dns_namespace" "shop" {
  name       = aws_service_discovery_private_dns_namespace.shop.name
  type       = "DNS_PRIVATE"
  depends_on = [aws_service_discovery_private_dns_namespace.shop]
}

data "aws_service_discovery_http_namespace" "api" {
  name       = aws_service_discovery_http_namespace.api.name
  depends_on = [aws_service_discovery_http_namespace.api]
}

data "aws_service_discovery_service" "web" {
  name         = aws_service_discovery_service.web.name
  namespace_id = aws_service_discovery_private_dns_namespace.shop.id
}

output "seen" {
  value = {
    http      = data.aws_service_discovery_http_namespace.api.http_name
    namespace = data.aws_service_discovery_dns_namespace.shop.hosted_zone == aws_service_discovery_private_dns_namespace.shop.hosted_zone
    service   = data.aws_service_discovery_service.web.arn == aws_service_discovery_service.web.arn
    routing   = data.aws_service_discovery_service.web.dns_config[0].routing_policy
    ttl       = data.aws_service_discovery_service.web.dns_config[0].dns_records[0].ttl
  }
}
