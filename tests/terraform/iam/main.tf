# Roles, policies and a machine's profile as people write them: applied, planned again (which must be empty) and destroyed by
# crates/longshore/tests/cluster/terraform.rs.

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

data "aws_iam_policy_document" "tasks" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "execution" {
  name                 = "execution"
  path                 = "/web/"
  description          = "pulls and logs"
  max_session_duration = 7200
  assume_role_policy   = data.aws_iam_policy_document.tasks.json
  tags                 = { Name = "execution" }
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "secrets" {
  name = "secrets"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = "*" }]
  })
}

resource "aws_iam_policy" "deploy" {
  name        = "deploy"
  description = "who deploys"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "ecs:UpdateService", Resource = "*" }]
  })
  tags = { Name = "deploy" }
}

resource "aws_iam_user" "deployer" {
  name          = "deployer"
  force_destroy = true
}

resource "aws_iam_user_policy_attachment" "deployer" {
  user       = aws_iam_user.deployer.name
  policy_arn = aws_iam_policy.deploy.arn
}

resource "aws_iam_access_key" "deployer" {
  user = aws_iam_user.deployer.name
}

resource "aws_iam_instance_profile" "machine" {
  name = "machine"
  role = aws_iam_role.execution.name
}

output "seen" {
  value = {
    role    = aws_iam_role.execution.arn
    policy  = aws_iam_policy.deploy.arn
    profile = aws_iam_instance_profile.machine.arn
    key     = length(aws_iam_access_key.deployer.id)
  }
}
