"""Capacity providers of Auto Scaling groups: from a launch template to a task on an instance that came for it, and back to nothing."""

import base64
import os

from botocore.exceptions import ClientError
from checked import Case, client

CLUSTER = "bb-grown"
IMAGE = os.environ["TEST_IMAGE"]


class CapacityProviders(Case):
    def setUp(self):
        super().setUp()
        self.scaling = client("autoscaling")
        self.ecs.create_cluster(clusterName=CLUSTER)

    def tearDown(self):
        self.stop_all(CLUSTER)
        # Tasks use it until nothing is left of them.
        self.until("an unused provider", self.take_away, bool)
        for made in self.ecs.describe_capacity_providers()["capacityProviders"]:
            if made["name"].startswith("bb-"):
                self.ecs.delete_capacity_provider(capacityProvider=made["name"])
        for made in self.groups():
            self.scaling.delete_auto_scaling_group(AutoScalingGroupName=made["AutoScalingGroupName"], ForceDelete=True)
        self.until("the groups' end", self.groups, lambda all: all == [])
        for made in self.ec2.describe_launch_templates()["LaunchTemplates"]:
            self.ec2.delete_launch_template(LaunchTemplateId=made["LaunchTemplateId"])
        super().tearDown()

    def take_away(self):
        try:
            self.ecs.put_cluster_capacity_providers(
                cluster=CLUSTER, capacityProviders=[], defaultCapacityProviderStrategy=[])
        except self.ecs.exceptions.ResourceInUseException:
            return False
        return True

    def groups(self):
        return self.scaling.describe_auto_scaling_groups()["AutoScalingGroups"]

    def group(self, **more):
        """A template and a group of it."""
        data = base64.b64encode(f"#!/bin/bash\necho ECS_CLUSTER={CLUSTER} >> /etc/ecs/ecs.config\n".encode()).decode()
        made = self.ec2.create_launch_template(
            LaunchTemplateName="bb-template",
            LaunchTemplateData={"InstanceType": "t3.micro", "UserData": data},
        )["LaunchTemplate"]
        subnets = [subnet["SubnetId"] for subnet in self.ec2.describe_subnets()["Subnets"]]
        wanted = dict(
            AutoScalingGroupName="bb-group", MinSize=0, MaxSize=2, VPCZoneIdentifier=",".join(subnets),
            LaunchTemplate={"LaunchTemplateId": made["LaunchTemplateId"], "Version": "$Latest"},
            Tags=[{"Key": "team", "Value": "blue", "PropagateAtLaunch": True}],
        )
        self.scaling.create_auto_scaling_group(**{**wanted, **more})
        return self.groups()[0]

    def test_a_group_grows_is_described_and_shrinks(self):
        group = self.group(DesiredCapacity=1, TerminationPolicies=["OldestInstance"])
        self.assertEqual((0, 2, 1), (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]))
        self.assertEqual(["OldestInstance"], group["TerminationPolicies"])
        there = self.until("an instance in service", lambda: self.groups()[0]["Instances"],
                           lambda all: [one["LifecycleState"] for one in all] == ["InService"])
        instance = there[0]["InstanceId"]
        told = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        tags = {tag["Key"]: tag["Value"] for tag in told["Tags"]}
        self.assertEqual({"aws:autoscaling:groupName": "bb-group", "team": "blue"}, tags)
        details = self.scaling.describe_auto_scaling_instances(InstanceIds=[instance])["AutoScalingInstances"]
        self.assertEqual(("bb-group", "HEALTHY"), (details[0]["AutoScalingGroupName"], details[0]["HealthStatus"]))
        self.scaling.create_or_update_tags(Tags=[{
            "ResourceId": "bb-group", "ResourceType": "auto-scaling-group", "Key": "own", "Value": "1",
            "PropagateAtLaunch": False}])
        shown = self.scaling.describe_tags(Filters=[{"Name": "auto-scaling-group", "Values": ["bb-group"]}])["Tags"]
        self.assertEqual(["own", "team"], [tag["Key"] for tag in shown])
        self.scaling.terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=True)
        self.until("nobody", lambda: self.groups()[0]["Instances"], lambda all: all == [])
        activities = self.until(
            "ends", lambda: self.scaling.describe_scaling_activities(AutoScalingGroupName="bb-group")["Activities"],
            lambda all: [one["StatusCode"] for one in all] == ["Successful", "Successful"])
        self.assertEqual([f"Terminating EC2 instance: {instance}", f"Launching a new EC2 instance: {instance}"],
                         [one["Description"] for one in activities])

    def test_a_task_brings_its_instance(self):
        group = self.group(NewInstancesProtectedFromScaleIn=True)
        made = self.ecs.create_capacity_provider(name="bb-spare", tags=[{"key": "a", "value": "b"}], autoScalingGroupProvider={
            "autoScalingGroupArn": group["AutoScalingGroupARN"], "managedTerminationProtection": "ENABLED",
            "managedScaling": {"status": "ENABLED", "maximumScalingStepSize": 1, "instanceWarmupPeriod": 1}})
        self.assertEqual("ACTIVE", made["capacityProvider"]["status"])
        self.ecs.put_cluster_capacity_providers(
            cluster=CLUSTER, capacityProviders=["bb-spare"],
            defaultCapacityProviderStrategy=[{"capacityProvider": "bb-spare", "weight": 1}])
        self.ecs.register_task_definition(family="bb-grown", containerDefinitions=[{
            "name": "main", "image": IMAGE, "memory": 64, "command": ["sleep", "300"], "stopTimeout": 2}])
        answer = self.ecs.run_task(cluster=CLUSTER, taskDefinition="bb-grown")
        self.assertEqual([], answer["failures"])
        task = answer["tasks"][0]
        self.assertEqual(("PROVISIONING", None), (task["lastStatus"], task.get("containerInstanceArn")))
        task = self.wait_task(task["taskArn"], "RUNNING", CLUSTER)
        self.assertEqual(("bb-spare", "EC2"), (task["capacityProviderName"], task["launchType"]))
        on = self.ecs.describe_container_instances(
            cluster=CLUSTER, containerInstances=[task["containerInstanceArn"]])["containerInstances"][0]
        self.assertEqual("bb-spare", on["capacityProviderName"])
        self.until("protection", lambda: self.groups()[0]["Instances"],
                   lambda all: [one["ProtectedFromScaleIn"] for one in all] == [True])
        self.refused("ResourceInUseException", self.ecs.put_cluster_capacity_providers, saying="in use",
                     cluster=CLUSTER, capacityProviders=[], defaultCapacityProviderStrategy=[])

    def test_what_is_not_honoured_is_refused_by_name(self):
        self.group()
        for call, request in [
            (self.scaling.enable_metrics_collection, {"AutoScalingGroupName": "bb-group", "Granularity": "1Minute"}),
            (self.scaling.update_auto_scaling_group, {"AutoScalingGroupName": "bb-group", "HealthCheckType": "ELB"}),
            (self.scaling.update_auto_scaling_group, {"AutoScalingGroupName": "bb-group", "CapacityRebalance": True}),
            (self.ec2.create_launch_template, {"LaunchTemplateName": "bb-ebs", "LaunchTemplateData": {"EbsOptimized": True}}),
        ]:
            with self.assertRaises(ClientError) as refusal:
                call(**request)
            self.assertIn("Longshore does not", str(refusal.exception))
        self.refused("InvalidParameterException", self.ecs.create_capacity_provider, saying="managedInstancesProvider",
                     name="bb-managed", managedInstancesProvider={
                         "infrastructureRoleArn": "arn:aws:iam::000000000000:role/x",
                         "instanceLaunchTemplate": {"ec2InstanceProfileArn": "arn:aws:iam::000000000000:instance-profile/x",
                                                    "networkConfiguration": {"subnets": ["subnet-1"]}}})
