"""IAM: users whose policies say what they may do, roles and policies as stacks make them, and the `aws` CLI."""

import json
import subprocess
import sys
import unittest

import boto3
import botocore.config

from checked import REGION, Case, client

TASKS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]}
EXECUTION = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", **statement} for statement in statements]})


class Iam(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.tearDown)
        self.iam = client("iam")
        self.account = client("sts").get_caller_identity()["Account"]

    def user(self, name, *statements, **more):
        """A user of these rights; answers what makes a client of his, and the key's id."""
        self.iam.create_user(UserName=name, **more)
        self.addCleanup(self.iam.delete_user, UserName=name)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        self.addCleanup(self.iam.delete_access_key, UserName=name, AccessKeyId=key["AccessKeyId"])
        if statements:
            self.iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(*statements))
            self.addCleanup(self.iam.delete_user_policy, UserName=name, PolicyName="own")
        keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        return lambda service, **changes: client(service, **keys, **changes), key["AccessKeyId"]

    def denied(self, call, action, resource, why="because no identity-based policy allows", code="AccessDeniedException", **request):
        error = self.refused(code, call, **request)
        said = error.response["Error"]["Message"]
        self.assertRegex(said, rf"User: arn:aws:iam::{self.account}:user/\S+ is not authorized to perform: {action} on resource: ")
        self.assertIn(resource, said)
        self.assertIn(why, said)

    def test_a_user_may_do_what_his_policy_says(self):
        cluster = f"arn:aws:ecs:{REGION}:{self.account}:cluster/default"
        ada, _ = self.user("ada", {"Action": ["ecs:Describe*", "ecs:ListClusters"]}, {"Effect": "Deny", "Action": "ecs:DescribeTasks"})
        ecs = ada("ecs")
        self.assertIn(cluster, ecs.list_clusters()["clusterArns"])
        self.assertEqual("default", ecs.describe_clusters()["clusters"][0]["clusterName"])
        self.denied(ecs.delete_cluster, "ecs:DeleteCluster", cluster, cluster="default")
        task = f"arn:aws:ecs:{REGION}:{self.account}:task/default/{'0' * 32}"
        self.denied(ecs.describe_tasks, "ecs:DescribeTasks", task, "with an explicit deny in an identity-based policy", tasks=[task])
        self.denied(ada("logs").describe_log_groups, "logs:DescribeLogGroups", "log-group:")
        # IAM and EC2 have codes and statuses of their own.
        self.denied(ada("iam").list_users, "iam:ListUsers", f"arn:aws:iam::{self.account}:user/", code="AccessDenied")
        self.denied(ada("ec2").create_vpc, "ec2:CreateVpc", "", code="UnauthorizedOperation", CidrBlock="10.9.0.0/16")
        # Anybody may ask who he is.
        self.assertEqual(f"arn:aws:iam::{self.account}:user/ada", ada("sts").get_caller_identity()["Arn"])
        self.assertTrue(ada("sts").get_caller_identity()["UserId"].startswith("AIDA"))
        # A policy that is changed holds for the next request.
        self.iam.put_user_policy(UserName="ada", PolicyName="own", PolicyDocument=policy({"Action": "logs:*"}))
        self.denied(ecs.list_clusters, "ecs:ListClusters", "*")
        ada("logs").describe_log_groups()

    def test_resources_and_conditions(self):
        ada, _ = self.user(
            "grace",
            {"Action": "logs:*", "Resource": f"arn:aws:logs:*:{self.account}:log-group:/${{aws:username}}/*:*"},
            {"Action": "ecs:RegisterTaskDefinition", "Condition": {"StringEquals": {"aws:RequestTag/team": "${aws:PrincipalTag/team}"}}},
            {"Action": "secretsmanager:*", "Resource": f"arn:aws:secretsmanager:*:*:secret:grace/*"},
            {"Action": ["ecs:RunTask", "ecs:ListTasks"], "Condition": {"ArnEquals": {"ecs:cluster": f"arn:aws:ecs:*:*:cluster/of-grace"}}},
            {"Action": "ecs:ListClusters", "Condition": {"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]}}},
            Tags=[{"Key": "team", "Value": "navy"}],
        )
        logs = ada("logs")
        logs.create_log_group(logGroupName="/grace/web")
        self.addCleanup(self.logs.delete_log_group, logGroupName="/grace/web")
        logs.create_log_stream(logGroupName="/grace/web", logStreamName="s")
        self.denied(logs.create_log_group, "logs:CreateLogGroup", "log-group:/ada/web", logGroupName="/ada/web")

        ecs = ada("ecs")
        wanted = {"family": "grace", "containerDefinitions": [{"name": "a", "image": "busybox", "memory": 8}]}
        self.denied(ecs.register_task_definition, "ecs:RegisterTaskDefinition", "task-definition/grace:*", **wanted)
        made = ecs.register_task_definition(**wanted, tags=[{"key": "team", "value": "navy"}])["taskDefinition"]
        self.ecs.deregister_task_definition(taskDefinition=made["taskDefinitionArn"])
        self.ecs.delete_task_definitions(taskDefinitions=[made["taskDefinitionArn"]])
        self.denied(ecs.list_tasks, "ecs:ListTasks", "*", cluster="default")
        self.refused("ClusterNotFoundException", ecs.list_tasks, cluster="of-grace")
        self.denied(ecs.list_clusters, "ecs:ListClusters", "*")

        secrets = ada("secretsmanager")
        arn = secrets.create_secret(Name="grace/db", SecretString="one")["ARN"]
        self.addCleanup(client("secretsmanager").delete_secret, SecretId=arn, ForceDeleteWithoutRecovery=True)
        self.assertEqual("one", secrets.get_secret_value(SecretId="grace/db")["SecretString"])
        self.denied(secrets.get_secret_value, "secretsmanager:GetSecretValue", "secret:prod/db", SecretId="prod/db")

    def test_keys_that_may_not_be_used(self):
        ada, key = self.user("lin", {"Action": "*"})
        ada("ecs").list_clusters()
        used = self.iam.get_access_key_last_used(AccessKeyId=key)
        self.assertEqual(("lin", "ecs", REGION), (used["UserName"], used["AccessKeyLastUsed"]["ServiceName"], used["AccessKeyLastUsed"]["Region"]))
        self.iam.update_access_key(UserName="lin", AccessKeyId=key, Status="Inactive")
        self.assertEqual(["Inactive"], [one["Status"] for one in self.iam.list_access_keys(UserName="lin")["AccessKeyMetadata"]])
        words = "The security token included in the request is invalid."
        self.refused("UnrecognizedClientException", ada("ecs").list_clusters, saying=words)
        self.refused("InvalidClientTokenId", ada("iam").list_users, saying=words)
        self.iam.update_access_key(UserName="lin", AccessKeyId=key, Status="Active")
        ada("ecs").list_clusters()
        ada("iam").create_access_key()
        self.refused("LimitExceeded", self.iam.create_access_key, UserName="lin", saying="AccessKeysPerUser: 2")
        second = next(one["AccessKeyId"] for one in self.iam.list_access_keys(UserName="lin")["AccessKeyMetadata"] if one["AccessKeyId"] != key)
        self.iam.delete_access_key(UserName="lin", AccessKeyId=second)
        wrong = boto3.client("ecs", region_name=REGION, aws_access_key_id=key, aws_secret_access_key="x" * 40, config=botocore.config.Config(retries={"total_max_attempts": 1}))
        self.refused("InvalidSignatureException", wrong.list_clusters)

    def test_roles_as_stacks_make_them(self):
        made = self.iam.create_role(
            RoleName="web", Path="/team/", AssumeRolePolicyDocument=json.dumps(TASKS), Description="what tasks are", MaxSessionDuration=7200,
            Tags=[{"Key": "team", "Value": "blue"}],
        )["Role"]
        self.assertEqual(f"arn:aws:iam::{self.account}:role/team/web", made["Arn"])
        self.assertRegex(made["RoleId"], "^AROA[A-Z0-9]{17}$")
        shown = self.iam.get_role(RoleName="web")["Role"]
        self.assertEqual((TASKS, 7200, [{"Key": "team", "Value": "blue"}]), (shown["AssumeRolePolicyDocument"], shown["MaxSessionDuration"], shown["Tags"]))
        self.refused("EntityAlreadyExists", self.iam.create_role, RoleName="web", AssumeRolePolicyDocument=json.dumps(TASKS), saying="Role with name web already exists.")
        self.refused("NoSuchEntity", self.iam.get_role, RoleName="none", saying="The role with name none cannot be found.")
        bad = json.dumps({**TASKS, "Statement": [{**TASKS["Statement"][0], "Condition": {"StringEqualz": {"aws:a": "b"}}}]})
        self.refused("MalformedPolicyDocument", self.iam.update_assume_role_policy, RoleName="web", PolicyDocument=bad)
        document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}}
        self.iam.put_role_policy(RoleName="web", PolicyName="logs", PolicyDocument=json.dumps(document))
        self.assertEqual(document, self.iam.get_role_policy(RoleName="web", PolicyName="logs")["PolicyDocument"])
        self.assertEqual(["logs"], self.iam.list_role_policies(RoleName="web")["PolicyNames"])
        self.iam.attach_role_policy(RoleName="web", PolicyArn=EXECUTION)
        attached = self.iam.list_attached_role_policies(RoleName="web")["AttachedPolicies"]
        self.assertEqual([{"PolicyName": "AmazonECSTaskExecutionRolePolicy", "PolicyArn": EXECUTION}], attached)
        # One more has it: `longshore dev` makes it.
        holders = [role["RoleName"] for role in self.iam.list_entities_for_policy(PolicyArn=EXECUTION)["PolicyRoles"]]
        self.assertEqual(["ecsTaskExecutionRole", "web"], sorted(holders))
        self.assertEqual(2, self.iam.get_policy(PolicyArn=EXECUTION)["Policy"]["AttachmentCount"])
        decided = self.iam.simulate_principal_policy(PolicySourceArn=made["Arn"], ActionNames=["logs:PutLogEvents", "ecs:RunTask"])["EvaluationResults"]
        self.assertEqual(["allowed", "implicitDeny"], [one["EvalDecision"] for one in decided])

        profile = self.iam.create_instance_profile(InstanceProfileName="machine")["InstanceProfile"]
        self.assertRegex(profile["InstanceProfileId"], "^AIPA[A-Z0-9]{17}$")
        self.iam.add_role_to_instance_profile(InstanceProfileName="machine", RoleName="web")
        self.assertEqual(["web"], [role["RoleName"] for role in self.iam.get_instance_profile(InstanceProfileName="machine")["InstanceProfile"]["Roles"]])
        self.refused("DeleteConflict", self.iam.delete_role, RoleName="web", saying="must remove roles from instance profile first")
        self.iam.remove_role_from_instance_profile(InstanceProfileName="machine", RoleName="web")
        self.iam.delete_instance_profile(InstanceProfileName="machine")
        self.refused("DeleteConflict", self.iam.delete_role, RoleName="web", saying="must detach all policies first.")
        self.iam.detach_role_policy(RoleName="web", PolicyArn=EXECUTION)
        self.refused("DeleteConflict", self.iam.delete_role, RoleName="web", saying="must delete policies first.")
        self.iam.delete_role_policy(RoleName="web", PolicyName="logs")
        self.iam.delete_role(RoleName="web")
        linked = self.iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com")["Role"]
        self.assertEqual(f"arn:aws:iam::{self.account}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS", linked["Arn"])
        self.refused("InvalidInput", self.iam.create_service_linked_role, AWSServiceName="ecs.amazonaws.com", saying="has been taken in this account")
        self.refused("UnmodifiableEntity", self.iam.delete_role, RoleName="AWSServiceRoleForECS")
        task = self.iam.delete_service_linked_role(RoleName="AWSServiceRoleForECS")["DeletionTaskId"]
        self.assertEqual("SUCCEEDED", self.iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"])

    def test_managed_policies_and_pages(self):
        document = policy({"Action": "ecs:*"})
        made = self.iam.create_policy(PolicyName="deploy", PolicyDocument=document, Description="who deploys", Tags=[{"Key": "a", "Value": "b"}])["Policy"]
        arn = made["Arn"]
        for number in range(2, 6):
            self.assertEqual(f"v{number}", self.iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=number == 3)["PolicyVersion"]["VersionId"])
        self.refused("LimitExceeded", self.iam.create_policy_version, PolicyArn=arn, PolicyDocument=document)
        self.assertEqual("v3", self.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"])
        self.assertEqual(json.loads(document), self.iam.get_policy_version(PolicyArn=arn, VersionId="v3")["PolicyVersion"]["Document"])
        for number in (1, 2, 4, 5):
            self.iam.delete_policy_version(PolicyArn=arn, VersionId=f"v{number}")
        self.refused("DeleteConflict", self.iam.delete_policy_version, PolicyArn=arn, VersionId="v3")
        self.assertEqual([arn], [one["Arn"] for one in self.iam.list_policies(Scope="Local")["Policies"]])
        pages = list(self.iam.get_paginator("list_policies").paginate(PaginationConfig={"PageSize": 4}))
        names = [one["PolicyName"] for page in pages for one in page["Policies"]]
        self.assertEqual((len(names), sorted(set(names))), (len(set(names)), sorted(names)))
        self.assertIn("AdministratorAccess", names)
        self.assertGreater(len(pages), 2)
        self.iam.delete_policy(PolicyArn=arn)
        self.refused("NoSuchEntity", self.iam.get_policy, PolicyArn=arn, saying="was not found")
        self.refused("MalformedPolicyDocument", self.iam.create_policy, PolicyName="bad", PolicyDocument='{"Statement": []}')

    def test_the_command_line(self):
        def aws(*words):
            done = subprocess.run([sys.executable, "-m", "awscli", "iam", *words, "--output", "json"], capture_output=True, text=True, check=False)
            self.assertEqual(0, done.returncode, done.stderr)
            return json.loads(done.stdout) if done.stdout.strip() else None

        role = aws("create-role", "--role-name", "cli", "--assume-role-policy-document", json.dumps(TASKS))["Role"]
        self.assertEqual("cli", role["RoleName"])
        aws("attach-role-policy", "--role-name", "cli", "--policy-arn", EXECUTION)
        self.assertEqual(["cli", "ecsTaskExecutionRole"], [role["RoleName"] for role in aws("list-roles")["Roles"]])
        aws("detach-role-policy", "--role-name", "cli", "--policy-arn", EXECUTION)
        aws("delete-role", "--role-name", "cli")


if __name__ == "__main__":
    unittest.main()
