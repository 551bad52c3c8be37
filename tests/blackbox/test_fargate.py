"""Fargate's sizes, and capacity providers: what is accepted is shown as it was given, what is not is refused in AWS's words."""

import random

from checked import Case

# AWS's table, and the three of 32 vCPU that only its documentation has.
TABLE = {
    256: [512, 1024, 2048],
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
    32768: [61440, 122880, 249856],
}
PAIRS = {(cpu, memory) for cpu, memories in TABLE.items() for memory in memories}


def shares(**providers):
    return [{"capacityProvider": name, "weight": weight, "base": base} for name, (weight, base) in providers.items()]


class Fargate(Case):
    def tearDown(self):
        self.stop_all()
        super().tearDown()

    def define(self, cpu=256, memory=512, family="bb-fargate"):
        return self.ecs.register_task_definition(
            family=family, networkMode="awsvpc", cpu=str(cpu), memory=str(memory), requiresCompatibilities=["FARGATE"],
            containerDefinitions=[{"name": "main", "image": "busybox"}],
        )["taskDefinition"]

    def network(self):
        subnets = self.ec2.describe_subnets()["Subnets"]
        return {"awsvpcConfiguration": {"subnets": [subnets[0]["SubnetId"]]}}

    def test_every_pair_of_the_table_can_be_registered(self):
        self.assertEqual(74 + 3, len(PAIRS))
        for cpu, memory in sorted(PAIRS):
            made = self.define(cpu, memory)
            self.assertEqual((str(cpu), str(memory)), (made["cpu"], made["memory"]))
            self.assertIn("FARGATE", made["compatibilities"])

    def test_a_thousand_others_cannot(self):
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        near = sorted({memory for _, memory in PAIRS} | {memory + off for _, memory in PAIRS for off in (-1, 1, 512)})
        wrong = set()
        while len(wrong) < 1000:
            cpu = chance.choice([*TABLE, 128, 257, 1536, 65536])
            memory = chance.choice([*near, chance.randrange(4, 262144)])
            if (cpu, memory) not in PAIRS:
                wrong.add((cpu, memory))
        for cpu, memory in sorted(wrong):
            with self.subTest(cpu=cpu, memory=memory, seed=seed):
                self.refused("ClientException", self.define, cpu=cpu, memory=memory, saying="No Fargate configuration exists for given values.")

    def test_a_cluster_shows_the_providers_and_the_strategy_that_it_was_given(self):
        both = ["FARGATE", "FARGATE_SPOT"]
        strategy = shares(FARGATE=(1, 2), FARGATE_SPOT=(4, 0))
        made = self.ecs.create_cluster(clusterName="bb-capacity", capacityProviders=both, defaultCapacityProviderStrategy=strategy)
        read = self.ecs.describe_clusters(clusters=["bb-capacity"], include=["ATTACHMENTS", "SETTINGS", "TAGS"])["clusters"][0]
        for cluster in (made["cluster"], read):
            self.assertEqual(both, cluster["capacityProviders"])
            self.assertEqual(strategy, cluster["defaultCapacityProviderStrategy"])
        described = self.ecs.describe_capacity_providers(cluster="bb-capacity", include=["TAGS"])["capacityProviders"]
        self.assertEqual(both, [one["name"] for one in described])
        put = self.ecs.put_cluster_capacity_providers(cluster="bb-capacity", capacityProviders=[], defaultCapacityProviderStrategy=[])
        self.assertEqual(([], []), (put["cluster"]["capacityProviders"], put["cluster"]["defaultCapacityProviderStrategy"]))
        self.ecs.delete_cluster(cluster="bb-capacity")

    def test_a_service_shows_its_strategy_until_it_is_given_another(self):
        self.ecs.create_cluster(clusterName="bb-shares", capacityProviders=["FARGATE", "FARGATE_SPOT"])
        definition, network = self.define()["taskDefinitionArn"], self.network()
        of = {"cluster": "bb-shares", "service": "web"}
        one = shares(FARGATE=(1, 1), FARGATE_SPOT=(3, 0))
        self.ecs.create_service(
            cluster="bb-shares", serviceName="web", taskDefinition=definition, desiredCount=0, capacityProviderStrategy=one,
            networkConfiguration=network,
        )
        read = lambda: self.ecs.describe_services(cluster="bb-shares", services=["web"])["services"][0]
        self.assertEqual((one, None), (read()["capacityProviderStrategy"], read().get("launchType")))
        other = shares(FARGATE_SPOT=(1, 0))
        self.refused(
            "InvalidParameterException", self.ecs.update_service, capacityProviderStrategy=other, saying="force a new deployment", **of
        )
        self.ecs.update_service(capacityProviderStrategy=other, forceNewDeployment=True, **of)
        self.assertEqual(other, read()["capacityProviderStrategy"])
        self.refused(
            "ResourceInUseException", self.ecs.put_cluster_capacity_providers, cluster="bb-shares", capacityProviders=["FARGATE"],
            defaultCapacityProviderStrategy=[], saying="in use",
        )
        self.refused(
            "InvalidParameterException", self.ecs.run_task, cluster="bb-shares", taskDefinition=definition, launchType="FARGATE",
            capacityProviderStrategy=other, networkConfiguration=network, saying="Specifying both a launch type",
        )
        self.ecs.delete_service(force=True, **of)
