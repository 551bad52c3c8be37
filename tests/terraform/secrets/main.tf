# Secrets and parameters as people write them, and a task definition that is given them: applied, planned again (which must be empty)
# and destroyed by crates/longshore/tests/cluster/terraform.rs.

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

resource "aws_secretsmanager_secret" "db" {
  name                    = "prod/db"
  description             = "who may read"
  recovery_window_in_days = 0
  tags                    = { Name = "db" }
}

resource "aws_secretsmanager_secret_version" "db" {
  secret_id     = aws_secretsmanager_secret.db.id
  secret_string = jsonencode({ username = "web", password = "one" })
}

resource "aws_ssm_parameter" "key" {
  name        = "/web/key"
  description = "of the front"
  type        = "SecureString"
  value       = "two"
  tags        = { Name = "key" }
}

resource "aws_ssm_parameter" "colours" {
  name            = "/web/colours"
  type            = "StringList"
  value           = "blue,green"
  allowed_pattern = "[a-z,]+"
}

data "aws_secretsmanager_secret_version" "db" {
  secret_id  = aws_secretsmanager_secret.db.id
  depends_on = [aws_secretsmanager_secret_version.db]
}

data "aws_ssm_parameter" "key" {
  name = aws_ssm_parameter.key.name
}

data "aws_ssm_parameters_by_path" "web" {
  path       = "/web"
  depends_on = [aws_ssm_parameter.key, aws_ssm_parameter.colours]
}

resource "aws_ecs_task_definition" "web" {
  family             = "web"
  execution_role_arn = "arn:aws:iam::000000000000:role/pulls"
  container_definitions = jsonencode([{
    name   = "web"
    image  = "busybox"
    memory = 16
    secrets = [
      { name = "PASSWORD", valueFrom = "${aws_secretsmanager_secret.db.arn}:password::" },
      { name = "KEY", valueFrom = aws_ssm_parameter.key.arn },
    ]
    environmentFiles      = [{ type = "s3", value = "arn:aws:s3:::config/web.env" }]
    repositoryCredentials = { credentialsParameter = aws_secretsmanager_secret.db.arn }
  }])
}

output "seen" {
  value = {
    db      = nonsensitive(data.aws_secretsmanager_secret_version.db.secret_string) == aws_secretsmanager_secret_version.db.secret_string
    stages  = data.aws_secretsmanager_secret_version.db.version_stages
    key     = nonsensitive(data.aws_ssm_parameter.key.value)
    version = aws_ssm_parameter.colours.version
    names   = data.aws_ssm_parameters_by_path.web.names
    given   = length(jsondecode(aws_ecs_task_definition.web.container_definitions)[0].secrets)
  }
  sensitive = true
}
