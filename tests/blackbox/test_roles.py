"""Roles: users who assume them and pass them on, sessions that are cut down, and tasks that cannot have them."""

import json
import unittest

from checked import Case, client

TASKS = {"Service": "ecs-tasks.amazonaws.com"}


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]})


def trust(principal, **more):
    return policy({"Principal": principal, "Action": "sts:AssumeRole", **more})


class Roles(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.tearDown)
        self.iam = client("iam")
        self.account = client("sts").get_caller_identity()["Account"]

    def role(self, name, principal, *statements, **condition):
        role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(principal, **condition))["Role"]
        self.addCleanup(self.iam.delete_role, RoleName=name)
        if statements:
            self.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy(*statements))
            self.addCleanup(self.iam.delete_role_policy, RoleName=name, PolicyName="own")
        return role

    def user(self, name, *statements):
        """A user of these rights, as what makes a client of his."""
        self.iam.create_user(UserName=name)
        self.addCleanup(self.iam.delete_user, UserName=name)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        self.addCleanup(self.iam.delete_access_key, UserName=name, AccessKeyId=key["AccessKeyId"])
        self.iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(*statements))
        self.addCleanup(self.iam.delete_user_policy, UserName=name, PolicyName="own")
        return lambda service: client(service, aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])

    def session(self, answer):
        given = answer["Credentials"]
        keys = {"aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"], "aws_session_token": given["SessionToken"]}
        return lambda service: client(service, **keys)

    def test_a_user_assumes_a_role_that_trusts_him(self):
        reads = {"Action": "ecs:ListClusters", "Resource": "*"}
        role = self.role("reads", {"AWS": f"arn:aws:iam::{self.account}:root"}, reads, Condition={"StringEquals": {"sts:ExternalId": "abc"}})
        bea = self.user("bea", {"Action": "sts:AssumeRole", "Resource": role["Arn"]})
        carl = self.user("carl", {"Action": "ecs:*", "Resource": "*"})
        asked = {"RoleArn": role["Arn"], "RoleSessionName": "bea", "ExternalId": "abc"}
        answer = bea("sts").assume_role(**asked)
        self.assertEqual(f"arn:aws:sts::{self.account}:assumed-role/reads/bea", answer["AssumedRoleUser"]["Arn"])
        self.assertEqual(f"{role['RoleId']}:bea", answer["AssumedRoleUser"]["AssumedRoleId"])
        acting = self.session(answer)
        who = acting("sts").get_caller_identity()
        self.assertEqual((answer["AssumedRoleUser"]["Arn"], f"{role['RoleId']}:bea"), (who["Arn"], who["UserId"]))
        acting("ecs").list_clusters()
        self.refused("AccessDeniedException", acting("ecs").list_services)
        # Neither another one, nor without the word, nor for a user whom the trust leaves it to and whose policies do not say so.
        words = f"User: arn:aws:iam::{self.account}:user/carl is not authorized to perform: sts:AssumeRole on resource: {role['Arn']}"
        self.assertEqual(words, self.refused("AccessDenied", carl("sts").assume_role, **asked).response["Error"]["Message"])
        self.refused("AccessDenied", bea("sts").assume_role, **{**asked, "ExternalId": "abd"})
        self.refused("ValidationError", bea("sts").assume_role, DurationSeconds=3601, **asked)
        # A session of a user's own: his rights, but not IAM.
        own = self.session(bea("sts").get_session_token(DurationSeconds=900))
        self.assertEqual(f"arn:aws:iam::{self.account}:user/bea", own("sts").get_caller_identity()["Arn"])
        self.assertIn("Credentials", own("sts").assume_role(**asked))
        self.refused("InvalidClientTokenId", own("iam").list_users)
        self.refused("AccessDenied", own("sts").get_session_token)

    def test_a_user_gives_tasks_only_roles_that_he_may_pass(self):
        self.role("passed", TASKS)
        self.role("kept", TASKS)
        passes = {"Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/passed", "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}}
        ecs = self.user("dora", {"Action": "ecs:*", "Resource": "*"}, passes)("ecs")
        container = {"name": "web", "image": "busybox", "memory": 16}
        register = {"family": "passing", "containerDefinitions": [container]}
        ecs.register_task_definition(taskRoleArn="passed", **register)
        for member in ("taskRoleArn", "executionRoleArn"):
            error = self.refused("AccessDeniedException", ecs.register_task_definition, **{member: "kept"}, **register)
            words = f"is not authorized to perform: iam:PassRole on resource: arn:aws:iam::{self.account}:role/kept"
            self.assertIn(words, error.response["Error"]["Message"])
        self.refused("AccessDeniedException", ecs.run_task, taskDefinition="passing", overrides={"taskRoleArn": "kept"})

    def test_a_task_whose_role_cannot_be_had_is_not_run(self):
        ecs = client("ecs")
        container = {"name": "web", "image": "busybox", "memory": 16}
        ecs.register_task_definition(family="roleless", taskRoleArn="nobody", containerDefinitions=[container])
        said = self.refused("ClientException", ecs.run_task, taskDefinition="roleless").response["Error"]["Message"]
        self.assertIn(f"ECS was unable to assume the role 'arn:aws:iam::{self.account}:role/nobody' that was provided for this task.", said)
        self.assertIn("aws iam create-role", said)


if __name__ == "__main__":
    unittest.main()
