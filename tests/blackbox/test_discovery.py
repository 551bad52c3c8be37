"""Cloud Map: names, what is registered under them, and the tasks that are found there."""

import os
import unittest
import urllib.request

from checked import REGION, Case, client

IMAGE = os.environ["TEST_IMAGE"]


class Discovery(Case):
    def setUp(self):
        super().setUp()
        # The answers to clearing up are held against the model too.
        self.addCleanup(self.tearDown)
        self.map = client("servicediscovery")
        self.name = self.id().rsplit(".")[-1].replace("_", "-")[:40] + ".local"
        self.vpc = self.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        self.addCleanup(self.clear)

    def clear(self):
        """Deletes every name with all that is under it: none of it may be refused."""
        for page in self.map.get_paginator("list_services").paginate():
            for service in page["Services"]:
                for instance in self.map.list_instances(ServiceId=service["Id"])["Instances"]:
                    self.done(self.map.deregister_instance(ServiceId=service["Id"], InstanceId=instance["Id"]))
                self.map.delete_service(Id=service["Id"])
        for page in self.map.get_paginator("list_namespaces").paginate():
            for namespace in page["Namespaces"]:
                self.done(self.map.delete_namespace(Id=namespace["Id"]))

    def done(self, answer):
        """Polls an operation until it has succeeded, as every client does; its targets."""

        def ask():
            return self.map.get_operation(OperationId=answer["OperationId"])["Operation"]

        operation = self.until("operation", ask, lambda operation: operation["Status"] in ("SUCCESS", "FAIL"))
        self.assertEqual("SUCCESS", operation["Status"], operation)
        return operation["Targets"]

    def namespace(self, **more):
        return self.done(self.map.create_private_dns_namespace(Name=self.name, Vpc=self.vpc, **more))["NAMESPACE"]

    def http(self):
        return self.done(self.map.create_http_namespace(Name=self.name))["NAMESPACE"]

    def discover(self, service, **more):
        found = self.map.discover_instances(NamespaceName=self.name, ServiceName=service, **more)["Instances"]
        return {one["InstanceId"]: one for one in found}


class Names(Discovery):
    def test_a_private_namespace_and_its_services(self):
        made = self.namespace(Description="what we sell", CreatorRequestId="once", Tags=[{"Key": "a", "Value": "1"}])
        self.assertEqual(made, self.namespace(Description="what we sell", CreatorRequestId="once", Tags=[{"Key": "a", "Value": "1"}]))
        error = self.refused("NamespaceAlreadyExists", self.map.create_http_namespace, Name=self.name)
        self.assertEqual(made, error.response["NamespaceId"])
        shown = self.map.get_namespace(Id=made)["Namespace"]
        self.assertEqual((self.name, "DNS_PRIVATE", 0), (shown["Name"], shown["Type"], shown["ServiceCount"]))
        self.assertTrue(shown["Properties"]["DnsProperties"]["HostedZoneId"].startswith("Z"))
        self.done(self.map.update_private_dns_namespace(Id=made, Namespace={"Description": "else"}))
        listed, = self.map.list_namespaces(Filters=[{"Name": "TYPE", "Values": ["DNS_PRIVATE"]}])["Namespaces"]
        self.assertEqual("else", listed["Description"])

        records = [{"Type": "A", "TTL": 10}, {"Type": "SRV", "TTL": 20}]
        service = self.map.create_service(
            Name="web", DnsConfig={"NamespaceId": made, "RoutingPolicy": "MULTIVALUE", "DnsRecords": records},
            HealthCheckCustomConfig={"FailureThreshold": 1}, CreatorRequestId="once")["Service"]
        self.assertEqual(records, service["DnsConfig"]["DnsRecords"])
        self.assertEqual(("DNS_HTTP", 0, made), (service["Type"], service["InstanceCount"], service["NamespaceId"]))
        error = self.refused("ServiceAlreadyExists", self.map.create_service, Name="WEB", NamespaceId=made,
                             DnsConfig={"DnsRecords": records})
        self.assertEqual(service["Id"], error.response["ServiceId"])
        self.done(self.map.update_service(Id=service["Arn"], Service={
            "Description": "the front", "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 5}]}}))
        listed, = self.map.list_services(Filters=[{"Name": "NAMESPACE_ID", "Values": [made]}])["Services"]
        self.assertEqual(([{"Type": "A", "TTL": 5}], "the front"), (listed["DnsConfig"]["DnsRecords"], listed["Description"]))
        self.refused("ResourceInUse", self.map.delete_namespace, Id=made)

        for arn in (shown["Arn"], service["Arn"]):
            self.map.tag_resource(ResourceARN=arn, Tags=[{"Key": "b", "Value": "2"}])
            self.map.untag_resource(ResourceARN=arn, TagKeys=["a"])
            self.assertEqual([{"Key": "b", "Value": "2"}], self.map.list_tags_for_resource(ResourceARN=arn)["Tags"])
        many = [{"Key": str(n), "Value": ""} for n in range(51)]
        self.refused("TooManyTagsException", self.map.tag_resource, ResourceARN=shown["Arn"], Tags=many)

    def test_what_is_not_served_is_refused_by_name(self):
        made = self.namespace()
        self.refused("UnsupportedOperationException", self.map.create_public_dns_namespace, Name="a.example")
        self.refused("InvalidInput", self.map.create_private_dns_namespace, Name="x.local", Vpc="vpc-00000000000000001")
        for more, saying in [
            ({"HealthCheckConfig": {"Type": "TCP"}}, "HealthCheckConfig"),
            ({"DnsConfig": {"DnsRecords": [{"Type": "CNAME", "TTL": 1}]}}, "CNAME"),
            ({"DnsConfig": {"DnsRecords": [{"Type": "AAAA", "TTL": 1}]}}, "AAAA"),
            ({}, "DnsConfig"),
        ]:
            self.refused("InvalidInput", self.map.create_service, saying=saying, Name="x", NamespaceId=made, **more)


class Instances(Discovery):
    def test_what_is_registered_is_found_until_it_is_not(self):
        web = self.map.create_service(Name="web", NamespaceId=self.http(), HealthCheckCustomConfig={})["Service"]["Id"]
        for number in range(5):
            attributes = {"AWS_INSTANCE_IPV4": f"10.0.0.{number}", "odd": str(number % 2)}
            targets = self.done(self.map.register_instance(ServiceId=web, InstanceId=f"i{number}", Attributes=attributes))
            self.assertEqual({"SERVICE": web, "INSTANCE": f"i{number}"}, targets)
        self.assertEqual({"i1", "i3"}, set(self.discover("web", QueryParameters={"odd": "1"})))
        pages = self.map.get_paginator("list_instances").paginate(ServiceId=web, PaginationConfig={"PageSize": 2})
        self.assertEqual([2, 2, 1], [len(page["Instances"]) for page in pages])
        before = self.map.discover_instances_revision(NamespaceName=self.name, ServiceName="web")["InstancesRevision"]
        self.map.update_instance_custom_health_status(ServiceId=web, InstanceId="i0", Status="UNHEALTHY")
        self.assertEqual("UNHEALTHY", self.map.get_instances_health_status(ServiceId=web)["Status"]["i0"])
        self.assertNotIn("i0", self.discover("web"))
        self.assertEqual(["i0"], list(self.discover("web", HealthStatus="UNHEALTHY")))
        self.refused("ResourceInUse", self.map.delete_service, Id=web)
        self.done(self.map.deregister_instance(ServiceId=web, InstanceId="i1"))
        self.refused("InstanceNotFound", self.map.get_instance, ServiceId=web, InstanceId="i1")
        after = self.map.discover_instances_revision(NamespaceName=self.name, ServiceName="web")["InstancesRevision"]
        self.assertGreater(after, before)
        kept = self.map.get_instance(ServiceId=web, InstanceId="i2")["Instance"]
        self.assertEqual({"AWS_INSTANCE_IPV4": "10.0.0.2", "odd": "0"}, kept["Attributes"])
        operations = self.map.list_operations(Filters=[{"Name": "SERVICE_ID", "Values": [web]}])["Operations"]
        self.assertEqual(6, len(operations))


class Tasks(Discovery):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.end_services)

    def end_services(self):
        for arn in self.ecs.list_services(maxResults=100)["serviceArns"]:
            self.ecs.delete_service(service=arn, force=True)
            self.ecs.get_waiter("services_inactive").wait(services=[arn], WaiterConfig={"Delay": 1, "MaxAttempts": 120})

    def test_tasks_are_found_where_they_answer_and_are_gone_when_they_stop(self):
        serve = "mkdir -p /tmp/w; echo here > /tmp/w/index.html; exec httpd -f -p 8000 -h /tmp/w"
        self.ecs.register_task_definition(family="found", containerDefinitions=[{
            "name": "app", "image": IMAGE, "memory": 16, "stopTimeout": 2, "command": ["sh", "-c", serve],
            "portMappings": [{"containerPort": 8000}]}])
        web = self.map.create_service(Name="web", HealthCheckCustomConfig={}, DnsConfig={
            "NamespaceId": self.namespace(), "DnsRecords": [{"Type": "SRV", "TTL": 10}]})["Service"]
        registry = {"registryArn": web["Arn"], "containerName": "app", "containerPort": 8000}
        made = self.ecs.create_service(serviceName="web", taskDefinition="found", desiredCount=2, serviceRegistries=[registry])
        self.assertEqual([registry], made["service"]["serviceRegistries"])
        listed = self.ecs.list_services_by_namespace(namespace=self.name)["serviceArns"]
        self.assertEqual([made["service"]["serviceArn"]], listed)
        self.refused("NamespaceNotFoundException", self.ecs.list_services_by_namespace, namespace="none")
        found = self.until("two are found", lambda: self.discover("web"), lambda found: len(found) == 2)
        for id, one in found.items():
            attributes = one["Attributes"]
            self.assertEqual(("HEALTHY", REGION, "web", "default", "found"), (
                one["HealthStatus"], attributes["REGION"], attributes["ECS_SERVICE_NAME"], attributes["ECS_CLUSTER_NAME"],
                attributes["ECS_TASK_DEFINITION_FAMILY"]))
            url = f"http://{attributes['AWS_INSTANCE_IPV4']}:{attributes['AWS_INSTANCE_PORT']}/"

            def ask():
                try:
                    return urllib.request.urlopen(url, timeout=2).read().decode()
                except OSError as error:
                    return error

            self.until(url, ask, lambda answer: answer == "here\n")
            self.refused("ResourceInUse", self.map.deregister_instance, ServiceId=web["Id"], InstanceId=id)
        self.assertEqual(2, self.map.get_service(Id=web["Id"])["Service"]["InstanceCount"])
        stopped = next(iter(found))
        self.ecs.stop_task(task=stopped)
        self.assertNotIn(stopped, self.discover("web"))
        self.until("another in its place", lambda: self.discover("web"), lambda found: len(found) == 2)
        self.ecs.update_service(service="web", desiredCount=0)
        self.until("none", lambda: self.discover("web"), lambda found: not found)

    def test_service_connect_gives_ports_names_in_a_namespace(self):
        definition = self.ecs.register_task_definition(family="mesh", networkMode="awsvpc", containerDefinitions=[{
            "name": "app", "image": IMAGE, "memory": 16, "stopTimeout": 2, "command": ["sleep", "600"],
            "portMappings": [{"containerPort": 8000, "name": "http", "appProtocol": "http"}]}])["taskDefinition"]
        cluster = self.ecs.update_cluster(cluster="default", serviceConnectDefaults={"namespace": self.name})["cluster"]
        arn = cluster["serviceConnectDefaults"]["namespace"]
        shown = self.ecs.describe_clusters(clusters=["default"])["clusters"][0]
        self.assertEqual(arn, shown["serviceConnectDefaults"]["namespace"])
        self.assertEqual("HTTP", self.map.get_namespace(Id=arn)["Namespace"]["Type"])
        subnets = [one["SubnetId"] for one in client("ec2").describe_subnets()["Subnets"]]
        given = {
            "serviceName": "mesh", "taskDefinition": definition["taskDefinitionArn"], "desiredCount": 1,
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": subnets}},
            "serviceConnectConfiguration": {"enabled": True, "services": [
                {"portName": "http", "discoveryName": "web", "clientAliases": [{"port": 80, "dnsName": "web"}]}]}}
        tls = {"portName": "http", "tls": {"issuerCertificateAuthority": {"awsPcaAuthorityArn": "arn:aws:acm-pca:x"}}}
        refused = {**given, "serviceConnectConfiguration": {"enabled": True, "services": [tls]}}
        self.refused("InvalidParameterException", self.ecs.create_service, **refused)
        service = self.ecs.create_service(**given)["service"]
        deployment = service["deployments"][0]
        self.assertEqual(arn, deployment["serviceConnectConfiguration"]["namespace"])
        resource = deployment["serviceConnectResources"][0]
        self.assertEqual("web", resource["discoveryName"])
        self.assertEqual([service["serviceArn"]], self.ecs.list_services_by_namespace(namespace=arn)["serviceArns"])
        id = resource["discoveryArn"].split("/")[-1]
        self.assertEqual("HTTP", self.map.get_service(Id=id)["Service"]["Type"])
        self.assertIn(id, [one["Id"] for one in self.map.list_services()["Services"]])
        self.refused("ResourceInUse", self.map.delete_service, Id=id)
        found = self.until("one is found", lambda: self.discover("web"), lambda found: len(found) == 1)
        self.assertEqual("8000", next(iter(found.values()))["Attributes"]["AWS_INSTANCE_PORT"])
        self.ecs.update_service(service="mesh", serviceConnectConfiguration={"enabled": False})
        cluster = self.ecs.update_cluster(cluster="default", serviceConnectDefaults={"namespace": ""})["cluster"]
        self.assertNotIn("serviceConnectDefaults", cluster)
        self.until("no name", lambda: [one["Id"] for one in self.map.list_services()["Services"]], lambda ids: id not in ids)


if __name__ == "__main__":
    unittest.main()
