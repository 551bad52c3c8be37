"""Cost Explorer: what was used, grouped and filtered as tools ask for it."""

import datetime
import decimal
import unittest

from checked import Case, client


class Cost(Case):
    def setUp(self):
        super().setUp()
        self.ce = client("ce")

    def ask(self, **more):
        today = datetime.datetime.now(datetime.timezone.utc).date()
        period = {"Start": str(today - datetime.timedelta(days=1)), "End": str(today + datetime.timedelta(days=1))}
        request = {"TimePeriod": period, "Granularity": "DAILY", "Metrics": ["UnblendedCost", "UsageQuantity"]}
        request.update(more)
        parts, token = [], None
        while True:
            page = self.ce.get_cost_and_usage(**request, **({"NextPageToken": token} if token else {}))
            parts += page["ResultsByTime"]
            token = page.get("NextPageToken")
            if not token:
                return parts

    def total(self, parts, metric="UsageQuantity"):
        groups = [group["Metrics"] for part in parts for group in part["Groups"]]
        return sum((decimal.Decimal(metrics[metric]["Amount"]) for metrics in groups), decimal.Decimal(0))

    def test_parts_and_totals(self):
        parts = self.ask()
        self.assertEqual(2, len(parts))
        for part in parts:
            self.assertEqual("USD", part["Total"]["UnblendedCost"]["Unit"])
            self.assertGreaterEqual(decimal.Decimal(part["Total"]["UnblendedCost"]["Amount"]), 0)
        self.assertTrue(parts[-1]["Estimated"])

    def test_groups_and_filters(self):
        service = {"Type": "DIMENSION", "Key": "SERVICE"}
        cluster = {"Type": "TAG", "Key": "aws:ecs:clusterName"}
        for part in self.ask(GroupBy=[service, cluster]):
            for group in part["Groups"]:
                self.assertTrue(group["Keys"][0].startswith("Amazon Elastic"), group)
                self.assertTrue(group["Keys"][1].startswith("aws:ecs:clusterName$"), group)
        nobody = {"Tags": {"Key": "aws:ecs:clusterName", "Values": ["no such cluster"]}}
        self.assertEqual(0, self.total(self.ask(GroupBy=[service], Filter=nobody)))
        anywhere = {"Or": [nobody, {"Not": nobody}]}
        self.ask(GroupBy=[service], Filter=anywhere)

    def test_what_it_would_have_cost_elsewhere(self):
        workload = {"Type": "TAG", "Key": "longshore:workload"}
        metrics = ["longshore:AsRunCost", "longshore:EC2Cost", "longshore:FargateCost", "longshore:IdleHours"]
        for part in self.ask(GroupBy=[workload], Metrics=metrics):
            for group in part["Groups"]:
                self.assertTrue(group["Keys"][0].startswith("longshore:workload$"), group)
                self.assertLessEqual(set(group["Metrics"]), set(metrics))
                for name, metric in group["Metrics"].items():
                    self.assertEqual("Hrs" if name == "longshore:IdleHours" else "USD", metric["Unit"])
                    self.assertGreaterEqual(decimal.Decimal(metric["Amount"]), 0)
        usage_type = {"Type": "DIMENSION", "Key": "USAGE_TYPE"}
        self.refused("ValidationException", self.ask, GroupBy=[usage_type], Metrics=metrics)
        self.refused("ValidationException", self.ask, Metrics=["longshore:Weather"])

    def test_what_is_not_honoured(self):
        self.refused("ValidationException", self.ask, GroupBy=[{"Type": "DIMENSION", "Key": "TENANCY"}])
        self.refused("ValidationException", self.ask, Metrics=["NormalizedUsageAmount"])
        self.refused("InvalidNextTokenException", self.ask, NextPageToken="bm90IG91cnM")


if __name__ == "__main__":
    unittest.main()
