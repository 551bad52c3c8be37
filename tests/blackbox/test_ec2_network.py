"""EC2's network: VPCs and all that is in them, in a region that no other test looks at."""

import concurrent.futures
import unittest

from checked import REGION, Case, client

CIDR = "10.80.0.0/16"


def filters(**wanted):
    return [{"Name": name.replace("_", "-"), "Values": value if isinstance(value, list) else [value]} for name, value in wanted.items()]


class Network(Case):
    region = "eu-west-2"

    def setUp(self):
        super().setUp()
        # The answers to clearing up are held against the model too.
        self.addCleanup(self.tearDown)
        self.ec2 = client("ec2", region=self.region)
        self.vpc = self.ec2.create_vpc(CidrBlock=CIDR, TagSpecifications=self.named("vpc", "test"))["Vpc"]["VpcId"]
        self.addCleanup(self.clear, self.vpc)

    def named(self, kind, name):
        return [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]}]

    def subnet(self, cidr="10.80.1.0/24", vpc=None, **more):
        return self.ec2.create_subnet(VpcId=vpc or self.vpc, CidrBlock=cidr, **more)["Subnet"]["SubnetId"]

    def group(self, name="web", vpc=None):
        return self.ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc or self.vpc)["GroupId"]

    def gateway(self):
        made = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=made, VpcId=self.vpc)
        return made

    def clear(self, vpc):
        """Deletes a VPC with all that is in it, in the order of dependence: none of it may be refused."""
        ec2, of = self.ec2, filters(vpc_id=vpc)
        for nat in ec2.describe_nat_gateways(Filter=of)["NatGateways"]:
            ec2.delete_nat_gateway(NatGatewayId=nat["NatGatewayId"])
        for eni in ec2.describe_network_interfaces(Filters=of)["NetworkInterfaces"]:
            ec2.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
        for address in ec2.describe_addresses()["Addresses"]:
            if "AssociationId" not in address:
                ec2.release_address(AllocationId=address["AllocationId"])
        for subnet in ec2.describe_subnets(Filters=of)["Subnets"]:
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        for table in ec2.describe_route_tables(Filters=of)["RouteTables"]:
            if not any(a["Main"] for a in table["Associations"]):
                ec2.delete_route_table(RouteTableId=table["RouteTableId"])
        for gateway in ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])["InternetGateways"]:
            ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
            ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
        groups = [g for g in ec2.describe_security_groups(Filters=of)["SecurityGroups"] if g["GroupName"] != "default"]
        for group in groups:
            if group["IpPermissions"]:
                ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=group["IpPermissions"])
        for group in groups:
            ec2.delete_security_group(GroupId=group["GroupId"])
        ec2.delete_vpc(VpcId=vpc)


class Vpcs(Network):
    def test_a_vpc_comes_with_a_route_table_a_group_and_an_acl(self):
        vpc = self.ec2.describe_vpcs(VpcIds=[self.vpc])["Vpcs"][0]
        self.assertEqual((CIDR, False, "available", "default"), (vpc["CidrBlock"], vpc["IsDefault"], vpc["State"], vpc["InstanceTenancy"]))
        self.assertEqual([{"Key": "Name", "Value": "test"}], vpc["Tags"])
        of = filters(vpc_id=self.vpc)
        table, = self.ec2.describe_route_tables(Filters=of + [{"Name": "association.main", "Values": ["true"]}])["RouteTables"]
        self.assertEqual(["local"], [route["GatewayId"] for route in table["Routes"]])
        group, = self.ec2.describe_security_groups(Filters=of + filters(group_name="default"))["SecurityGroups"]
        self.assertEqual(group["GroupId"], group["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"])
        self.assertEqual("0.0.0.0/0", group["IpPermissionsEgress"][0]["IpRanges"][0]["CidrIp"])
        acl, = self.ec2.describe_network_acls(Filters=of + filters(default="true"))["NetworkAcls"]
        self.assertEqual((True, 4), (acl["IsDefault"], len(acl["Entries"])))
        self.refused("DependencyViolation", self.ec2.delete_route_table, RouteTableId=table["RouteTableId"])
        self.refused("CannotDelete", self.ec2.delete_security_group, GroupId=group["GroupId"])

    def test_attributes(self):
        def value(name):
            answer = self.ec2.describe_vpc_attribute(VpcId=self.vpc, Attribute=name)
            return answer[name[0].upper() + name[1:]]["Value"]

        names = ["enableDnsSupport", "enableDnsHostnames", "enableNetworkAddressUsageMetrics"]
        self.assertEqual([True, False, False], [value(name) for name in names])
        self.ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": True})
        self.ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsSupport={"Value": False})
        self.assertEqual([False, True, False], [value(name) for name in names])

    def test_ranges(self):
        for cidr in ["10.0.0.0/8", "10.0.0.0/29"]:
            self.refused("InvalidVpc.Range", self.ec2.create_vpc, CidrBlock=cidr, saying=f"The CIDR '{cidr}' is invalid.")
        self.refused("InvalidParameterValue", self.ec2.create_vpc, CidrBlock="nonsense", saying="not a valid CIDR block")
        self.refused("MissingParameter", self.ec2.create_vpc)
        self.refused("UnsupportedOperation", self.ec2.create_vpc, CidrBlock=CIDR, AmazonProvidedIpv6CidrBlock=True)
        self.refused("UnsupportedOperation", self.ec2.create_vpc, CidrBlock=CIDR, InstanceTenancy="dedicated")
        self.subnet("10.80.1.0/24")
        for cidr, code in [("10.81.0.0/24", "InvalidSubnet.Range"), ("10.80.1.128/25", "InvalidSubnet.Conflict")]:
            self.refused(code, self.ec2.create_subnet, VpcId=self.vpc, CidrBlock=cidr)
        self.refused("InvalidParameterValue", self.ec2.create_subnet, VpcId=self.vpc, CidrBlock="10.80.2.0/24", AvailabilityZone="eu-west-2z")

    def test_what_is_not_there(self):
        gone = "0123456789abcdef0"
        for code, call, request in [
            ("InvalidVpcID.NotFound", self.ec2.delete_vpc, {"VpcId": f"vpc-{gone}"}),
            ("InvalidVpcID.Malformed", self.ec2.delete_vpc, {"VpcId": "vpc-nonsense"}),
            ("InvalidVpcID.NotFound", self.ec2.describe_vpcs, {"VpcIds": [f"vpc-{gone}"]}),
            ("InvalidSubnetID.NotFound", self.ec2.delete_subnet, {"SubnetId": f"subnet-{gone}"}),
            ("InvalidRouteTableID.NotFound", self.ec2.delete_route_table, {"RouteTableId": f"rtb-{gone}"}),
            ("InvalidInternetGatewayID.NotFound", self.ec2.delete_internet_gateway, {"InternetGatewayId": f"igw-{gone}"}),
            ("NatGatewayNotFound", self.ec2.delete_nat_gateway, {"NatGatewayId": f"nat-{gone}"}),
            ("InvalidAllocationID.NotFound", self.ec2.release_address, {"AllocationId": f"eipalloc-{gone}"}),
            ("InvalidAddress.NotFound", self.ec2.release_address, {"PublicIp": "203.0.113.1"}),
            ("InvalidGroup.NotFound", self.ec2.delete_security_group, {"GroupId": f"sg-{gone}"}),
            ("InvalidNetworkInterfaceID.NotFound", self.ec2.delete_network_interface, {"NetworkInterfaceId": f"eni-{gone}"}),
            ("InvalidSecurityGroupRuleId.NotFound", self.ec2.describe_security_group_rules, {"SecurityGroupRuleIds": [f"sgr-{gone}"]}),
            ("InvalidID", self.ec2.create_tags, {"Resources": ["x-1"], "Tags": [{"Key": "a", "Value": "b"}]}),
        ]:
            self.refused(code, call, **request)

    def test_dry_run_changes_nothing(self):
        self.refused("DryRunOperation", self.ec2.delete_vpc, VpcId=self.vpc, DryRun=True)
        self.assertTrue(self.ec2.describe_vpcs(VpcIds=[self.vpc])["Vpcs"])

    def test_account_attributes(self):
        found = {a["AttributeName"]: a["AttributeValues"][0]["AttributeValue"] for a in self.ec2.describe_account_attributes()["AccountAttributes"]}
        self.assertEqual("VPC", found["supported-platforms"])
        self.assertTrue(found["default-vpc"].startswith("vpc-"))
        one = self.ec2.describe_account_attributes(AttributeNames=["default-vpc"])["AccountAttributes"]
        self.assertEqual(1, len(one))


class Default(Network):
    """A region whose default VPC is taken away and made again."""

    region = "eu-west-3"

    def test_the_default_vpc_goes_and_comes_back(self):
        default = self.ec2.describe_vpcs(Filters=filters(is_default="true"))["Vpcs"][0]
        before = self.ec2.describe_subnets(Filters=filters(default_for_az="true"))["Subnets"]
        self.assertEqual(3, len(before))
        self.refused("DefaultVpcAlreadyExists", self.ec2.create_default_vpc)
        self.clear(default["VpcId"])
        self.refused("VPCIdNotSpecified", self.ec2.create_security_group, GroupName="a", Description="a")
        again = self.ec2.create_default_vpc()["Vpc"]
        self.assertEqual((default["VpcId"], True), (again["VpcId"], again["IsDefault"]))
        self.assertEqual(before, self.ec2.describe_subnets(Filters=filters(default_for_az="true"))["Subnets"])


class Subnets(Network):
    def test_a_subnet_of_a_zone(self):
        made = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.80.1.0/28", AvailabilityZone="eu-west-2b")["Subnet"]
        self.assertEqual(("eu-west-2b", "euw2-az2", 11, False), tuple(
            made[k] for k in ["AvailabilityZone", "AvailabilityZoneId", "AvailableIpAddressCount", "MapPublicIpOnLaunch"]
        ))
        by_id = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.80.2.0/28", AvailabilityZoneId="euw2-az3")["Subnet"]
        self.assertEqual("eu-west-2c", by_id["AvailabilityZone"])
        self.ec2.modify_subnet_attribute(SubnetId=made["SubnetId"], MapPublicIpOnLaunch={"Value": True})
        self.refused("UnsupportedOperation", self.ec2.modify_subnet_attribute, SubnetId=made["SubnetId"], EnableDns64={"Value": True})
        self.ec2.create_network_interface(SubnetId=made["SubnetId"])
        shown = self.ec2.describe_subnets(SubnetIds=[made["SubnetId"]])["Subnets"][0]
        self.assertEqual((True, 10), (shown["MapPublicIpOnLaunch"], shown["AvailableIpAddressCount"]))
        self.refused(
            "DependencyViolation", self.ec2.delete_subnet, SubnetId=made["SubnetId"],
            saying=f"The subnet '{made['SubnetId']}' has dependencies and cannot be deleted.",
        )
        self.refused("DependencyViolation", self.ec2.delete_vpc, VpcId=self.vpc)

    def test_pages_and_filters(self):
        made = {self.subnet(f"10.80.{n}.0/24", TagSpecifications=self.named("subnet", f"s{n}")) for n in range(12)}
        pages = list(self.ec2.get_paginator("describe_subnets").paginate(
            Filters=filters(vpc_id=self.vpc), PaginationConfig={"PageSize": 5}))
        self.assertEqual([5, 5, 2], [len(page["Subnets"]) for page in pages])
        self.assertEqual(made, {subnet["SubnetId"] for page in pages for subnet in page["Subnets"]})
        self.refused("InvalidParameterValue", self.ec2.describe_subnets, NextToken="nonsense", MaxResults=5)

        def count(**wanted):
            return len(self.ec2.describe_subnets(Filters=filters(vpc_id=self.vpc) + [
                {"Name": name, "Values": values} for name, values in wanted.items()])["Subnets"])

        self.assertEqual(3, count(**{"tag:Name": ["s1", "s11", "s2"]}))
        self.assertEqual(3, count(**{"tag:Name": ["s1*"]}))
        self.assertEqual(12, count(**{"tag-key": ["Name"]}))
        self.assertEqual(0, count(**{"tag-key": ["Other"]}))
        self.assertEqual(1, count(**{"cidr-block": ["10.80.3.0/24"]}))
        self.refused("InvalidParameterValue", self.ec2.describe_subnets, Filters=filters(colour="red"))


class Routing(Network):
    def test_tables_and_associations(self):
        subnet, gateway = self.subnet(), self.gateway()
        request = {"VpcId": self.vpc, "ClientToken": "one", "TagSpecifications": self.named("route-table", "t")}
        table = self.ec2.create_route_table(**request)["RouteTable"]["RouteTableId"]
        self.assertEqual(table, self.ec2.create_route_table(**request)["RouteTable"]["RouteTableId"])
        self.refused("IdempotentParameterMismatch", self.ec2.create_route_table, VpcId=self.vpc, ClientToken="one")
        self.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        self.refused("RouteAlreadyExists", self.ec2.create_route, RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        association = self.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
        other = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.refused("Resource.AlreadyAssociated", self.ec2.associate_route_table, RouteTableId=other, SubnetId=subnet)
        self.refused("DependencyViolation", self.ec2.delete_route_table, RouteTableId=table)
        found = self.ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])["RouteTables"]
        self.assertEqual([table], [t["RouteTableId"] for t in found])
        moved = self.ec2.replace_route_table_association(AssociationId=association, RouteTableId=other)["NewAssociationId"]
        self.refused("InvalidAssociationID.NotFound", self.ec2.disassociate_route_table, AssociationId=association)
        self.ec2.disassociate_route_table(AssociationId=moved)
        main = self.ec2.describe_route_tables(Filters=filters(vpc_id=self.vpc) + [{"Name": "association.main", "Values": ["true"]}])
        main = main["RouteTables"][0]["Associations"][0]["RouteTableAssociationId"]
        self.refused("InvalidParameterValue", self.ec2.disassociate_route_table, AssociationId=main)

    def test_routes_to_what_is_gone_are_black_holes(self):
        gateway = self.gateway()
        table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        self.refused("DependencyViolation", self.ec2.delete_internet_gateway, InternetGatewayId=gateway)
        self.ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        self.refused("Gateway.NotAttached", self.ec2.detach_internet_gateway, InternetGatewayId=gateway, VpcId=self.vpc)
        self.ec2.delete_internet_gateway(InternetGatewayId=gateway)
        routes = self.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
        self.assertEqual([("local", "active"), (gateway, "blackhole")], [(r["GatewayId"], r["State"]) for r in routes])
        self.refused("InvalidGatewayID.NotFound", self.ec2.replace_route, RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        self.ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
        self.refused("InvalidRoute.NotFound", self.ec2.delete_route, RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
        self.refused("InvalidParameterValue", self.ec2.delete_route, RouteTableId=table, DestinationCidrBlock=CIDR)

    def test_a_vpc_has_one_gateway(self):
        gateway = self.gateway()
        shown = self.ec2.describe_internet_gateways(InternetGatewayIds=[gateway])["InternetGateways"][0]
        self.assertEqual([{"State": "available", "VpcId": self.vpc}], shown["Attachments"])
        self.refused("Resource.AlreadyAssociated", self.ec2.attach_internet_gateway, InternetGatewayId=gateway, VpcId=self.vpc)
        other = self.ec2.create_internet_gateway(TagSpecifications=self.named("internet-gateway", "x"))["InternetGateway"]
        self.assertEqual([], other["Attachments"])
        self.refused("InvalidParameterValue", self.ec2.attach_internet_gateway, InternetGatewayId=other["InternetGatewayId"], VpcId=self.vpc)
        self.ec2.delete_internet_gateway(InternetGatewayId=other["InternetGatewayId"])


class Addresses(Network):
    def test_a_nat_gateway_and_its_address(self):
        subnet = self.subnet()
        address = self.ec2.allocate_address(Domain="vpc", TagSpecifications=self.named("elastic-ip", "nat"))
        request = {"SubnetId": subnet, "AllocationId": address["AllocationId"], "ClientToken": "nat"}
        self.refused("Gateway.NotAttached", self.ec2.create_nat_gateway, **request)
        gateway = self.gateway()
        nat = self.ec2.create_nat_gateway(**request)["NatGateway"]
        self.assertEqual(nat["NatGatewayId"], self.ec2.create_nat_gateway(**request)["NatGateway"]["NatGatewayId"])
        self.ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat["NatGatewayId"]])
        of_nat, = nat["NatGatewayAddresses"]
        self.assertEqual(address["PublicIp"], of_nat["PublicIp"])
        eni = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[of_nat["NetworkInterfaceId"]])["NetworkInterfaces"][0]
        self.assertEqual(("in-use", True, address["PublicIp"]), (eni["Status"], eni["RequesterManaged"], eni["Association"]["PublicIp"]))
        self.refused("Resource.AlreadyAssociated", self.ec2.create_nat_gateway, SubnetId=subnet, AllocationId=address["AllocationId"])
        self.refused("InvalidParameterValue", self.ec2.delete_network_interface, NetworkInterfaceId=eni["NetworkInterfaceId"])
        self.refused("InvalidIPAddress.InUse", self.ec2.release_address, AllocationId=address["AllocationId"])
        self.refused("DependencyViolation", self.ec2.detach_internet_gateway, InternetGatewayId=gateway, VpcId=self.vpc, saying="mapped public address")
        table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat["NatGatewayId"])
        self.ec2.delete_nat_gateway(NatGatewayId=nat["NatGatewayId"])
        self.ec2.get_waiter("nat_gateway_deleted").wait(NatGatewayIds=[nat["NatGatewayId"]])
        route = self.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"][-1]
        self.assertEqual("blackhole", route["State"])
        self.ec2.release_address(AllocationId=address["AllocationId"])

    def test_an_address_leads_to_one_interface(self):
        self.gateway()
        subnet = self.subnet()
        one, two = (self.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"] for _ in range(2))
        address = self.ec2.allocate_address()
        self.assertEqual("vpc", address["Domain"])
        first = self.ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=one)["AssociationId"]
        self.assertEqual(first, self.ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=one)["AssociationId"])
        self.refused("Resource.AlreadyAssociated", self.ec2.associate_address, AllocationId=address["AllocationId"], NetworkInterfaceId=two)
        second = self.ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=two, AllowReassociation=True)["AssociationId"]
        shown = self.ec2.describe_addresses(Filters=filters(network_interface_id=two))["Addresses"][0]
        self.assertEqual((second, subnet), (shown["AssociationId"], shown["SubnetId"]))
        attribute = self.ec2.describe_addresses_attribute(AllocationIds=[address["AllocationId"]], Attribute="domain-name")["Addresses"][0]
        self.assertEqual(address["PublicIp"], attribute["PublicIp"])
        self.ec2.disassociate_address(AssociationId=second)
        self.refused("InvalidAssociationID.NotFound", self.ec2.disassociate_address, AssociationId=second)
        self.refused("UnsupportedOperation", self.ec2.associate_address, AllocationId=address["AllocationId"], InstanceId="i-0123456789abcdef0")


class Interfaces(Network):
    def test_interfaces(self):
        subnet, group = self.subnet(), self.group()
        request = {
            "SubnetId": subnet, "Groups": [group], "Description": "by hand", "ClientToken": "one",
            "PrivateIpAddresses": [{"PrivateIpAddress": "10.80.1.9", "Primary": True}, {"PrivateIpAddress": "10.80.1.8", "Primary": False}],
            "TagSpecifications": self.named("network-interface", "x"),
        }
        made = self.ec2.create_network_interface(**request)["NetworkInterface"]
        eni = made["NetworkInterfaceId"]
        self.assertEqual(eni, self.ec2.create_network_interface(**request)["NetworkInterface"]["NetworkInterfaceId"])
        self.assertEqual(["10.80.1.9", "10.80.1.8"], [a["PrivateIpAddress"] for a in made["PrivateIpAddresses"]])
        self.assertEqual("ip-10-80-1-9.eu-west-2.compute.internal", made["PrivateDnsName"])
        self.refused("InvalidIPAddress.InUse", self.ec2.create_network_interface, SubnetId=subnet, PrivateIpAddress="10.80.1.9")
        self.refused("InvalidParameterValue", self.ec2.create_network_interface, SubnetId=subnet, PrivateIpAddress="10.80.1.2")
        self.refused("InvalidParameterValue", self.ec2.create_network_interface, SubnetId=subnet, PrivateIpAddress="10.80.2.9")
        self.refused("DependencyViolation", self.ec2.delete_security_group, GroupId=group, saying=f"resource {group} has a dependent object")
        other = self.group("other")
        self.ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, Groups=[other])
        self.ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, SourceDestCheck={"Value": False})
        self.ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, Description={"Value": "changed"})
        found = self.ec2.describe_network_interfaces(Filters=filters(group_id=other))["NetworkInterfaces"][0]
        self.assertEqual((eni, "changed", False), (found["NetworkInterfaceId"], found["Description"], found["SourceDestCheck"]))
        for name in ["description", "groupSet", "sourceDestCheck", "attachment"]:
            self.ec2.describe_network_interface_attribute(NetworkInterfaceId=eni, Attribute=name)
        self.refused(
            "UnsupportedOperation", self.ec2.attach_network_interface, NetworkInterfaceId=eni, InstanceId="i-0123456789abcdef0", DeviceIndex=1,
            saying="AttachNetworkInterface",
        )

    def test_many_at_once_never_get_one_address(self):
        subnet = self.subnet()

        def make(_):
            return self.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["PrivateIpAddress"]

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            addresses = list(pool.map(make, range(32)))
        self.assertEqual(32, len(set(addresses)), addresses)

    def test_a_subnet_runs_full(self):
        subnet = self.subnet("10.80.1.0/28")
        made = self.ec2.create_network_interface(SubnetId=subnet, SecondaryPrivateIpAddressCount=10)["NetworkInterface"]
        self.assertEqual([f"10.80.1.{n}" for n in range(4, 15)], [a["PrivateIpAddress"] for a in made["PrivateIpAddresses"]])
        self.refused("InsufficientFreeAddressesInSubnet", self.ec2.create_network_interface, SubnetId=subnet)


class Instances(Network):
    """What local instances have to do with the network they are in: that of the region in which they run."""

    region = REGION

    def test_an_instance_holds_its_place(self):
        reservations = self.ec2.describe_instances(Filters=filters(instance_state_name="running"))["Reservations"]
        instance = reservations[0]["Instances"][0]
        shown, = self.ec2.describe_network_interfaces(
            Filters=[{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}])["NetworkInterfaces"]
        self.assertEqual((instance["PrivateIpAddress"], "in-use"), (shown["PrivateIpAddress"], shown["Status"]))
        self.refused("DependencyViolation", self.ec2.delete_subnet, SubnetId=instance["SubnetId"])
        self.refused("InvalidParameterValue", self.ec2.delete_network_interface, NetworkInterfaceId=shown["NetworkInterfaceId"])
        other = self.ec2.create_network_interface(SubnetId=instance["SubnetId"])["NetworkInterface"]
        self.addCleanup(self.ec2.delete_network_interface, NetworkInterfaceId=other["NetworkInterfaceId"])
        self.assertNotEqual(instance["PrivateIpAddress"], other["PrivateIpAddress"])
        self.refused(
            "InvalidIPAddress.InUse", self.ec2.create_network_interface, SubnetId=instance["SubnetId"], PrivateIpAddress=instance["PrivateIpAddress"])
        self.ec2.create_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": "role", "Value": "test"}])
        found = self.ec2.describe_tags(Filters=filters(resource_id=instance["InstanceId"], key="role"))["Tags"]
        self.assertEqual(["instance"], [tag["ResourceType"] for tag in found])
        self.ec2.delete_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": "role"}])

    def test_instances_are_in_the_default_vpc_alone(self):
        def run(**where):
            return self.ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, **where)

        self.refused("UnsupportedOperation", run, SubnetId=self.subnet(), saying="for instances")
        self.refused("UnsupportedOperation", run, SecurityGroupIds=[self.group()], saying="for instances")
        self.refused("InvalidSubnetID.NotFound", run, SubnetId="subnet-0123456789abcdef0")


class Groups(Network):
    def rules(self, group, egress=False):
        found = self.ec2.describe_security_group_rules(Filters=filters(group_id=group))["SecurityGroupRules"]
        return [rule for rule in found if rule["IsEgress"] == egress]

    def test_names(self):
        group = self.group()
        self.refused("InvalidGroup.Duplicate", self.group, saying=f"The security group 'web' already exists for VPC '{self.vpc}'")
        self.refused("InvalidParameterValue", lambda: self.group("default"))
        self.refused("InvalidParameterValue", lambda: self.group("sg-x"))
        other = self.ec2.create_vpc(CidrBlock=CIDR)["Vpc"]["VpcId"]
        self.addCleanup(self.clear, other)
        self.assertNotEqual(group, self.group(vpc=other))

    def test_rules_as_permissions(self):
        group, other = self.group(), self.group("other")
        permissions = [
            {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 81, "IpRanges": [{"CidrIp": "10.1.2.3/8", "Description": "us"}, {"CidrIp": "0.0.0.0/0"}],
             "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
            {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": other, "Description": "them"}]},
            {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        ]
        made = self.ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=permissions, TagSpecifications=self.named("security-group-rule", "r"))["SecurityGroupRules"]
        self.assertEqual(5, len(made))
        self.assertEqual(5, len(self.rules(group)))
        shown = self.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
        self.assertEqual([("tcp", 80), ("tcp", 443), ("icmp", -1)], [(p["IpProtocol"], p["FromPort"]) for p in shown])
        self.assertEqual([{"CidrIp": "10.0.0.0/8", "Description": "us"}, {"CidrIp": "0.0.0.0/0"}], shown[0]["IpRanges"])
        self.assertEqual((other, "them"), tuple(shown[1]["UserIdGroupPairs"][0][k] for k in ["GroupId", "Description"]))
        again = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 81, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        self.refused(
            "InvalidPermission.Duplicate", self.ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[again],
            saying='the specified rule "peer: 0.0.0.0/0, TCP, from port: 80, to port: 81, ALLOW" already exists',
        )
        self.refused("DependencyViolation", self.ec2.delete_security_group, GroupId=other)
        revoked = self.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[again])["RevokedSecurityGroupRules"]
        self.assertEqual(["0.0.0.0/0"], [rule["CidrIpv4"] for rule in revoked])
        self.refused("InvalidPermission.NotFound", self.ec2.revoke_security_group_ingress, GroupId=group, IpPermissions=[again])
        described = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": other, "Description": "those"}]}]
        self.ec2.update_security_group_rule_descriptions_ingress(GroupId=group, IpPermissions=described)
        self.assertIn("those", [rule.get("Description") for rule in self.rules(group)])

    def test_rules_by_id(self):
        group = self.group()
        everything, = self.rules(group, egress=True)
        self.assertEqual(("-1", -1, -1, "0.0.0.0/0"), tuple(everything[k] for k in ["IpProtocol", "FromPort", "ToPort", "CidrIpv4"]))
        permission = {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
        rule, = self.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[permission])["SecurityGroupRules"]
        one = rule["SecurityGroupRuleId"]
        self.ec2.create_tags(Resources=[one], Tags=[{"Key": "Name", "Value": "dns"}])
        change = {"IpProtocol": "udp", "FromPort": 5353, "ToPort": 5353, "CidrIpv4": "10.0.0.0/8", "Description": "changed"}
        self.ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=[{"SecurityGroupRuleId": one, "SecurityGroupRule": change}])
        self.ec2.update_security_group_rule_descriptions_egress(
            GroupId=group, SecurityGroupRuleDescriptions=[{"SecurityGroupRuleId": one, "Description": "again"}])
        shown = self.ec2.describe_security_group_rules(SecurityGroupRuleIds=[one])["SecurityGroupRules"][0]
        self.assertEqual((5353, "again", [{"Key": "Name", "Value": "dns"}]), tuple(shown[k] for k in ["FromPort", "Description", "Tags"]))
        self.refused("InvalidSecurityGroupRuleId.NotFound", self.ec2.revoke_security_group_ingress, GroupId=group, SecurityGroupRuleIds=[one])
        self.ec2.revoke_security_group_egress(GroupId=group, SecurityGroupRuleIds=[one, everything["SecurityGroupRuleId"]])
        self.assertEqual([], self.rules(group, egress=True))
        self.refused("InvalidSecurityGroupRuleId.NotFound", self.ec2.revoke_security_group_egress, GroupId=group, SecurityGroupRuleIds=[one])

    def test_limits_and_refusals(self):
        group = self.group()
        ports = [{"IpProtocol": "tcp", "FromPort": n, "ToPort": n, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]} for n in range(61)]
        self.refused("RulesPerSecurityGroupLimitExceeded", self.ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=ports)
        self.assertEqual([], self.rules(group))
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=ports[:60])
        self.assertEqual(60, len(self.rules(group)))
        pages = list(self.ec2.get_paginator("describe_security_group_rules").paginate(
            Filters=filters(group_id=group), PaginationConfig={"PageSize": 25}))
        self.assertEqual([25, 25, 11], [len(page["SecurityGroupRules"]) for page in pages])
        lists = [{"IpProtocol": "-1", "PrefixListIds": [{"PrefixListId": "pl-1"}]}]
        self.refused("UnsupportedOperation", self.ec2.authorize_security_group_egress, GroupId=group, IpPermissions=lists, saying="PrefixListIds")

    def test_the_oldest_form(self):
        group = self.group()
        one = {"GroupId": group, "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "10.0.0.0/8"}
        self.ec2.authorize_security_group_ingress(**one)
        self.assertEqual([22], [rule["FromPort"] for rule in self.rules(group)])
        self.ec2.revoke_security_group_ingress(**one)
        self.assertEqual([], self.rules(group))


class Tags(Network):
    def test_tags_of_everything(self):
        subnet = self.subnet()
        self.ec2.create_tags(Resources=[self.vpc, subnet], Tags=[{"Key": "team", "Value": "a, b (c)"}, {"Key": "tier", "Value": ""}])
        found = self.ec2.describe_tags(Filters=filters(resource_id=[self.vpc, subnet], key="team"))["Tags"]
        self.assertEqual({("vpc", "a, b (c)"), ("subnet", "a, b (c)")}, {(tag["ResourceType"], tag["Value"]) for tag in found})
        # A tag named with a value goes only if it has that value; without any named, all go.
        self.ec2.delete_tags(Resources=[self.vpc], Tags=[{"Key": "team", "Value": "x"}, {"Key": "tier"}])
        self.assertEqual({"Name", "team"}, {tag["Key"] for tag in self.ec2.describe_vpcs(VpcIds=[self.vpc])["Vpcs"][0]["Tags"]})
        self.ec2.delete_tags(Resources=[self.vpc])
        self.assertNotIn("Tags", self.ec2.describe_vpcs(VpcIds=[self.vpc])["Vpcs"][0])
        pages = list(self.ec2.get_paginator("describe_tags").paginate(Filters=filters(resource_id=subnet), PaginationConfig={"PageSize": 5}))
        self.assertEqual(2, sum(len(page["Tags"]) for page in pages))
        many = [{"Key": f"k{n}", "Value": "v"} for n in range(51)]
        self.refused("TagLimitExceeded", self.ec2.create_tags, Resources=[subnet], Tags=many)
        self.refused("InvalidParameterValue", self.ec2.create_tags, Resources=[subnet], Tags=[{"Key": "aws:x", "Value": "v"}])
        wrong = [{"ResourceType": "vpc", "Tags": [{"Key": "a", "Value": "b"}]}]
        self.refused("InvalidParameterValue", self.ec2.create_subnet, VpcId=self.vpc, CidrBlock="10.80.9.0/24", TagSpecifications=wrong)


if __name__ == "__main__":
    unittest.main()
