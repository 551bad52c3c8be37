"""Secrets Manager and Parameter Store: versions and stages, what is deleted and restored, selectors, paths."""

import unittest
import uuid

from checked import REGION, Case, client


class Secrets(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.tearDown)
        self.secrets = client("secretsmanager")
        self.name = "test/" + self.id().rsplit(".")[-1]
        self.addCleanup(self.clear)

    def clear(self):
        for page in self.secrets.get_paginator("list_secrets").paginate(IncludePlannedDeletion=True):
            for secret in page["SecretList"]:
                self.secrets.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)

    def value(self, **which):
        return self.secrets.get_secret_value(SecretId=self.name, **which)["SecretString"]

    def test_a_secret_as_terraform_makes_it(self):
        made = self.secrets.create_secret(Name=self.name, Description="of the shop", Tags=[{"Key": "team", "Value": "blue"}])
        arn = made["ARN"]
        self.assertRegex(arn, rf"^arn:aws:secretsmanager:{REGION}:\d{{12}}:secret:{self.name}-[A-Za-z0-9]{{6}}$")
        self.assertNotIn("VersionId", made)
        shown = self.secrets.describe_secret(SecretId=arn)
        self.assertEqual((self.name, "of the shop", [{"Key": "team", "Value": "blue"}]), (shown["Name"], shown["Description"], shown["Tags"]))
        self.assertNotIn("VersionIdsToStages", shown)
        self.assertNotIn("ResourcePolicy", self.secrets.get_resource_policy(SecretId=arn))
        error = self.refused("ResourceNotFoundException", self.secrets.get_secret_value, SecretId=arn)
        self.assertIn("can't find the specified secret value for staging label: AWSCURRENT", str(error))
        put = self.secrets.put_secret_value(SecretId=arn, SecretString="one", ClientRequestToken=str(uuid.uuid4()))
        read = self.secrets.get_secret_value(SecretId=arn, VersionId=put["VersionId"])
        self.assertEqual(("one", ["AWSCURRENT"]), (read["SecretString"], read["VersionStages"]))
        # By name, and by an ARN without what is behind it.
        self.assertEqual("one", self.value())
        self.assertEqual("one", self.secrets.get_secret_value(SecretId=arn[:-7])["SecretString"])
        deleted = self.secrets.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
        self.assertEqual((arn, self.name), (deleted["ARN"], deleted["Name"]))
        self.refused("ResourceNotFoundException", self.secrets.describe_secret, SecretId=arn)
        again = self.secrets.create_secret(Name=self.name, SecretString="two")["ARN"]
        self.assertNotEqual(arn, again)
        self.refused("ResourceNotFoundException", self.secrets.get_secret_value, SecretId=arn)

    def test_versions_and_their_stages(self):
        first = self.secrets.create_secret(Name=self.name, SecretString="one")["VersionId"]
        second = self.secrets.put_secret_value(SecretId=self.name, SecretString="two")["VersionId"]
        third = self.secrets.update_secret(SecretId=self.name, SecretString="three", Description="more")["VersionId"]
        self.assertEqual(("three", "two"), (self.value(), self.value(VersionStage="AWSPREVIOUS")))
        self.assertEqual("one", self.value(VersionId=first))
        pending = self.secrets.put_secret_value(SecretId=self.name, SecretString="four", VersionStages=["AWSPENDING"])["VersionId"]
        self.assertEqual(("three", "four"), (self.value(), self.value(VersionStage="AWSPENDING")))
        stages = self.secrets.describe_secret(SecretId=self.name)["VersionIdsToStages"]
        self.assertEqual({third: ["AWSCURRENT"], second: ["AWSPREVIOUS"], pending: ["AWSPENDING"]}, stages)
        listed = self.secrets.list_secret_version_ids(SecretId=self.name)["Versions"]
        self.assertEqual([second, third, pending], [version["VersionId"] for version in listed])
        all_of_them = self.secrets.list_secret_version_ids(SecretId=self.name, IncludeDeprecated=True)["Versions"]
        self.assertEqual([first, second, third, pending], [version["VersionId"] for version in all_of_them])
        move = self.secrets.update_secret_version_stage
        error = self.refused("InvalidParameterException", move, SecretId=self.name, VersionStage="AWSCURRENT", MoveToVersionId=pending)
        self.assertIn(f"currently attached to version {third}", str(error))
        self.refused("InvalidParameterException", move, SecretId=self.name, VersionStage="AWSCURRENT", RemoveFromVersionId=third)
        move(SecretId=self.name, VersionStage="AWSCURRENT", MoveToVersionId=pending, RemoveFromVersionId=third)
        self.assertEqual(("four", "three"), (self.value(), self.value(VersionStage="AWSPREVIOUS")))
        self.refused("InvalidRequestException", self.secrets.get_secret_value, SecretId=self.name, VersionId=first, VersionStage="AWSCURRENT")
        self.refused("ResourceNotFoundException", self.secrets.get_secret_value, SecretId=self.name, VersionId=str(uuid.uuid4()))

    def test_the_same_token_again(self):
        token = str(uuid.uuid4())
        make = {"Name": self.name, "SecretString": "one", "ClientRequestToken": token}
        self.assertEqual(self.secrets.create_secret(**make)["ARN"], self.secrets.create_secret(**make)["ARN"])
        self.refused("ResourceExistsException", self.secrets.create_secret, Name=self.name, SecretString="one")
        put = {"SecretId": self.name, "ClientRequestToken": token}
        self.secrets.put_secret_value(SecretString="one", **put)
        error = self.refused("ResourceExistsException", self.secrets.put_secret_value, SecretString="hunter2", **put)
        self.assertNotIn("hunter2", str(error))
        self.assertEqual(1, len(self.secrets.list_secret_version_ids(SecretId=self.name)["Versions"]))

    def test_what_is_deleted_can_be_restored(self):
        self.secrets.create_secret(Name=self.name, SecretString="one")
        deleted = self.secrets.delete_secret(SecretId=self.name, RecoveryWindowInDays=7)
        self.assertEqual(deleted["DeletionDate"], self.secrets.describe_secret(SecretId=self.name)["DeletedDate"])
        for call in (
            lambda: self.secrets.get_secret_value(SecretId=self.name),
            lambda: self.secrets.put_secret_value(SecretId=self.name, SecretString="two"),
            lambda: self.secrets.create_secret(Name=self.name, SecretString="two"),
            lambda: self.secrets.delete_secret(SecretId=self.name),
        ):
            self.refused("InvalidRequestException", call)
        self.assertEqual([], self.secrets.list_secrets()["SecretList"])
        self.assertEqual(1, len(self.secrets.list_secrets(IncludePlannedDeletion=True)["SecretList"]))
        self.secrets.restore_secret(SecretId=self.name)
        self.assertEqual("one", self.value())
        delete = self.secrets.delete_secret
        self.refused("InvalidParameterException", delete, SecretId=self.name, RecoveryWindowInDays=6)
        self.refused("InvalidParameterException", delete, SecretId=self.name, RecoveryWindowInDays=7, ForceDeleteWithoutRecovery=True)
        delete(SecretId="never-was", ForceDeleteWithoutRecovery=True)
        self.refused("ResourceNotFoundException", delete, SecretId="never-was")

    def test_binary_values_batches_and_bounds(self):
        self.secrets.create_secret(Name=self.name, SecretBinary=b"\x00\xff")
        self.assertEqual(b"\x00\xff", self.secrets.get_secret_value(SecretId=self.name)["SecretBinary"])
        both = self.secrets.batch_get_secret_value(SecretIdList=[self.name, "none"])
        self.assertEqual([b"\x00\xff"], [one["SecretBinary"] for one in both["SecretValues"]])
        self.assertEqual([("none", "ResourceNotFoundException")], [(one["SecretId"], one["ErrorCode"]) for one in both["Errors"]])
        self.secrets.put_secret_value(SecretId=self.name, SecretString="x" * 65536)
        error = self.refused("ValidationException", self.secrets.put_secret_value, SecretId=self.name, SecretString="hunter2" * 10000)
        self.assertNotIn("hunter2", str(error))
        self.refused("InvalidParameterException", self.secrets.put_secret_value, SecretId=self.name, SecretString="ä" * 40000)
        self.refused("InvalidParameterException", self.secrets.put_secret_value, SecretId=self.name, SecretString="a", SecretBinary=b"a")
        self.refused("InvalidRequestException", self.secrets.put_secret_value, SecretId=self.name)
        self.refused("ValidationException", self.secrets.create_secret, Name="a b", SecretString="one")

    def test_lists_filters_and_tags(self):
        for at in range(5):
            self.secrets.create_secret(Name=f"{self.name}-{at}", SecretString="one", Tags=[{"Key": f"k{at}", "Value": "v"}])
        pages = self.secrets.get_paginator("list_secrets").paginate(PaginationConfig={"PageSize": 2})
        names = [secret["Name"] for page in pages for secret in page["SecretList"]]
        self.assertEqual([f"{self.name}-{at}" for at in (4, 3, 2, 1, 0)], names)
        names = lambda **how: sorted(secret["Name"][-1] for secret in self.secrets.list_secrets(**how)["SecretList"])
        self.assertEqual(["3"], names(Filters=[{"Key": "tag-key", "Values": ["k3"]}]))
        self.assertEqual(["1", "2"], names(Filters=[{"Key": "name", "Values": [f"{self.name}-1", f"{self.name}-2"]}]))
        self.secrets.tag_resource(SecretId=f"{self.name}-0", Tags=[{"Key": "a", "Value": "1"}])
        self.secrets.untag_resource(SecretId=f"{self.name}-0", TagKeys=["k0"])
        self.assertEqual([{"Key": "a", "Value": "1"}], self.secrets.describe_secret(SecretId=f"{self.name}-0")["Tags"])

    def test_passwords(self):
        make = lambda **how: self.secrets.get_random_password(**how)["RandomPassword"]
        self.assertEqual(32, len(make()))
        self.assertNotEqual(make(), make())
        digits = make(PasswordLength=500, ExcludeLowercase=True, ExcludeUppercase=True, ExcludePunctuation=True, ExcludeCharacters="0123")
        self.assertEqual(set("456789"), set(digits))
        self.refused("InvalidParameterException", self.secrets.get_random_password, PasswordLength=3)

    def test_what_is_not_there_is_refused_by_name(self):
        self.secrets.create_secret(Name=self.name, SecretString="one")
        self.refused("UnsupportedOperationException", self.secrets.rotate_secret, SecretId=self.name)
        self.refused("UnsupportedOperationException", self.secrets.put_resource_policy, SecretId=self.name, ResourcePolicy="{}")
        error = self.refused("ValidationException", self.secrets.create_secret, Name="x", KmsKeyId="alias/x")
        self.assertIn("KmsKeyId", str(error))


class Parameters(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.tearDown)
        self.ssm = client("ssm")
        self.addCleanup(self.clear)

    def clear(self):
        for page in self.ssm.get_paginator("describe_parameters").paginate():
            names = [parameter["Name"] for parameter in page["Parameters"]]
            for at in range(0, len(names), 10):
                self.assertEqual([], self.ssm.delete_parameters(Names=names[at : at + 10])["InvalidParameters"])

    def put(self, name, value, kind="String", **more):
        return self.ssm.put_parameter(Name=name, Value=value, Type=kind, **more)

    def unput(self, code, name, value, kind="String", **more):
        return self.refused(code, self.ssm.put_parameter, Name=name, Value=value, Type=kind, **more)

    def get(self, name, **how):
        return self.ssm.get_parameter(Name=name, **how)["Parameter"]

    def test_a_parameter_as_terraform_makes_it(self):
        made = self.put("/shop/colour", "blue", Description="of the door", AllowedPattern="blue|green", Tags=[{"Key": "a", "Value": "1"}])
        self.assertEqual((1, "Standard"), (made["Version"], made["Tier"]))
        shown = self.get("/shop/colour", WithDecryption=True)
        self.assertEqual(("blue", "String", 1, "text"), tuple(shown[name] for name in ("Value", "Type", "Version", "DataType")))
        self.assertRegex(shown["ARN"], rf"^arn:aws:ssm:{REGION}:\d{{12}}:parameter/shop/colour$")
        equal = [{"Key": "Name", "Option": "Equals", "Values": ["/shop/colour"]}]
        described = self.ssm.describe_parameters(ParameterFilters=equal)["Parameters"]
        self.assertEqual([("of the door", "blue|green")], [(one["Description"], one["AllowedPattern"]) for one in described])
        of = {"ResourceType": "Parameter", "ResourceId": "/shop/colour"}
        self.assertEqual([{"Key": "a", "Value": "1"}], self.ssm.list_tags_for_resource(**of)["TagList"])
        self.ssm.add_tags_to_resource(Tags=[{"Key": "b", "Value": "2"}], **of)
        self.ssm.remove_tags_from_resource(TagKeys=["a"], **of)
        self.assertEqual([{"Key": "b", "Value": "2"}], self.ssm.list_tags_for_resource(**of)["TagList"])
        self.unput("ParameterAlreadyExists", "/shop/colour", "green")
        self.unput("ParameterPatternMismatchException", "/shop/colour", "red", AllowedPattern="blue|green", Overwrite=True)
        self.unput("HierarchyTypeMismatchException", "/shop/colour", "red", "SecureString", Overwrite=True)
        self.assertEqual(2, self.put("/shop/colour", "green", Overwrite=True)["Version"])
        self.ssm.delete_parameter(Name="/shop/colour")
        self.refused("ParameterNotFound", self.ssm.get_parameter, Name="/shop/colour")
        self.refused("ParameterNotFound", self.ssm.delete_parameter, Name="/shop/colour")

    def test_secure_strings_are_shown_to_those_who_ask(self):
        self.put("key", "hunter2", "SecureString")
        self.assertNotIn("hunter2", self.get("key")["Value"])
        self.assertEqual("hunter2", self.get("key", WithDecryption=True)["Value"])
        self.assertEqual("hunter2", self.get(self.get("key")["ARN"], WithDecryption=True)["Value"])
        error = self.unput("ValidationException", "long", "hunter2" * 1000, "SecureString")
        self.assertNotIn("hunter2", str(error))

    def test_versions_labels_and_history(self):
        for value in ("one", "two", "three"):
            self.put("/app/v", value, Overwrite=True)
        self.assertEqual([], self.ssm.label_parameter_version(Name="/app/v", ParameterVersion=2, Labels=["prod"])["InvalidLabels"])
        self.assertEqual(["three", "one", "two"], [self.get(name)["Value"] for name in ("/app/v", "/app/v:1", "/app/v:prod")])
        self.assertEqual(":prod", self.get("/app/v:prod")["Selector"])
        self.refused("ParameterVersionNotFound", self.ssm.get_parameter, Name="/app/v:9")
        history = self.ssm.get_parameter_history(Name="/app/v")["Parameters"]
        self.assertEqual([(1, "one", []), (2, "two", ["prod"]), (3, "three", [])], [(v["Version"], v["Value"], v["Labels"]) for v in history])
        self.assertEqual(["awsx"], self.ssm.label_parameter_version(Name="/app/v", Labels=["awsx"])["InvalidLabels"])
        self.ssm.label_parameter_version(Name="/app/v", Labels=["prod"])
        self.assertEqual("three", self.get("/app/v:prod")["Value"])
        removed = self.ssm.unlabel_parameter_version(Name="/app/v", ParameterVersion=3, Labels=["prod", "none"])
        self.assertEqual((["prod"], ["none"]), (removed["RemovedLabels"], removed["InvalidLabels"]))
        for _ in range(98):
            self.put("/app/v", "more", Overwrite=True)
        self.refused("ParameterVersionNotFound", self.ssm.get_parameter, Name="/app/v:1")
        self.assertEqual("two", self.get("/app/v:2")["Value"])

    def test_paths_and_names(self):
        for name in ("/a/1", "/a/2", "/a/b/3", "/ab/4", "five"):
            self.put(name, name)
        pages = lambda **how: self.ssm.get_paginator("get_parameters_by_path").paginate(PaginationConfig={"PageSize": 1}, **how)
        names = lambda **how: [one["Value"] for page in pages(**how) for one in page["Parameters"]]
        self.assertEqual(["/a/1", "/a/2"], names(Path="/a"))
        self.assertEqual(["/a/1", "/a/2", "/a/b/3"], names(Path="/a/", Recursive=True))
        self.assertEqual(["five"], names(Path="/"))
        self.assertEqual(5, len(names(Path="/", Recursive=True)))
        some = self.ssm.get_parameters(Names=["/a/1", "five:1", "five:2", "none"])
        self.assertEqual((["/a/1", "five"], ["five:2", "none"]), ([one["Name"] for one in some["Parameters"]], some["InvalidParameters"]))
        described = lambda *filters: [one["Name"] for one in self.ssm.describe_parameters(ParameterFilters=list(filters))["Parameters"]]
        self.assertEqual(["/a/1", "/a/2", "/ab/4"], described({"Key": "Name", "Option": "BeginsWith", "Values": ["/a"]}, {"Key": "Path", "Values": ["/a", "/ab"]}))
        for name, code in (("/aws/x", "AccessDeniedException"), ("awsx", "ValidationException"), ("a/b", "ValidationException"), ("/x" * 16, "HierarchyLevelLimitExceededException")):
            self.unput(code, name, "x")
        self.unput("ValidationException", "big", "x", Tier="Advanced")


if __name__ == "__main__":
    unittest.main()
