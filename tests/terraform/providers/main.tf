# A capacity provider of an Auto Scaling group as people write it, with a service that makes it grow: applied, planned again (which
# must be empty) and destroyed by crates/longshore/tests/cluster/terraform.rs.

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

resource "aws_ecs_cluster" "main" {
  name = "grown"
  configuration {
    execute_command_configuration {
      logging = "OVERRIDE"
      log_configuration {
        cloud_watch_log_group_name = "exec"
      }
    }
  }
}

resource "aws_launch_template" "main" {
  name          = "grown"
  image_id      = "ami-0ec50000000000000"
  instance_type = "t3.small"
  user_data     = base64encode("#!/bin/bash\necho ECS_CLUSTER=${aws_ecs_cluster.main.name} >> /etc/ecs/ecs.config\n")
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "grown" }
  }
  tags = { Name = "template" }
}

resource "aws_autoscaling_group" "main" {
  name                  = "grown"
  min_size              = 0
  max_size              = 3
  vpc_zone_identifier   = data.aws_subnets.default.ids
  health_check_type     = "EC2"
  protect_from_scale_in = true
  termination_policies  = ["OldestInstance"]
  force_delete          = true
  launch_template {
    id      = aws_launch_template.main.id
    version = "$Latest"
  }
  tag {
    key                 = "AmazonECSManaged"
    value               = "true"
    propagate_at_launch = true
  }
  lifecycle {
    ignore_changes = [desired_capacity]
  }
}

resource "aws_ecs_capacity_provider" "main" {
  name = "grown"
  auto_scaling_group_provider {
    auto_scaling_group_arn         = aws_autoscaling_group.main.arn
    managed_termination_protection = "ENABLED"
    managed_draining               = "ENABLED"
    managed_scaling {
      status                    = "ENABLED"
      target_capacity           = 100
      minimum_scaling_step_size = 1
      maximum_scaling_step_size = 2
      instance_warmup_period    = 10
    }
  }
  tags = { Name = "provider" }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = [aws_ecs_capacity_provider.main.name]
  default_capacity_provider_strategy {
    capacity_provider = aws_ecs_capacity_provider.main.name
    weight            = 1
  }
}

output "seen" {
  value = {
    group    = aws_autoscaling_group.main.launch_template[0].name
    zones    = length(aws_autoscaling_group.main.availability_zones)
    provider = aws_ecs_capacity_provider.main.auto_scaling_group_provider[0].managed_scaling[0].maximum_scaling_step_size
    draining = aws_ecs_capacity_provider.main.auto_scaling_group_provider[0].managed_draining
    versions = aws_launch_template.main.latest_version
  }
}
