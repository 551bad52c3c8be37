"""Asks botocore (pip install botocore==1.44.5) for the truth our codecs are tested against.

    python3 generate.py           writes requests.json, outputs.json and ../../../wire/tests/data/signatures.json
    python3 generate.py --check   parses answers.json, which our encoder wrote (tests/protocols.rs, UPDATE_GOLDEN=1), with
                                  botocore's parsers, and fails where they read something else than outputs.json says

Only the person who updates the models runs this; the tests read the files.
"""

import base64
import datetime
import json
import pathlib
import sys

import botocore.auth
import botocore.parsers
import botocore.serialize
import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[3]
SERVICES = ["autoscaling", "ce", "ec2", "ecs", "iam", "logs", "secretsmanager", "servicediscovery", "ssm", "sts"]
WHEN = datetime.datetime(2026, 11, 17, 19, 10, 0, tzinfo=datetime.timezone.utc)
# Deep and wide enough to meet every kind of shape; the whole of RunInstances would be a megabyte.
MAX_DEPTH = 5


def operations(name):
    return sorted(json.loads((ROOT / "models" / f"{name}.json").read_text())["operations"])


def sample(shape, name, depth=0, seen=()):
    """One value as botocore takes it, and the same in our canonical form."""
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False):
            return {"any": ["json", 1]}, {"any": ["json", 1]}
        if depth > MAX_DEPTH or shape.name in seen:
            return None, None
        pairs = {}
        for key, member in shape.members.items():
            one, canonical = sample(member, key, depth + 1, (*seen, shape.name))
            if one is not None:
                pairs[key] = (one, canonical)
                if getattr(shape, "is_tagged_union", False):
                    break
        # Nothing of it is written where all that it holds lies too deep.
        if not pairs and (shape.members or getattr(shape, "is_tagged_union", False)):
            return None, None
        return {k: v[0] for k, v in pairs.items()}, {k: v[1] for k, v in pairs.items()}
    if kind == "list":
        one, canonical = sample(shape.member, name, depth + 1, seen)
        if one is None:
            return None, None
        twice = 2 if shape.member.type_name == "string" else 1
        return [one] * twice, [canonical] * twice
    if kind == "map":
        one, canonical = sample(shape.value, name, depth + 1, seen)
        return (None, None) if one is None else ({"a.b/c": one}, {"a.b/c": canonical})
    if kind == "string":
        text = shape.enum[0] if getattr(shape, "enum", None) else f"{name[:1]} <&é> \"'+%"
        return text, text
    if kind == "timestamp":
        return WHEN, WHEN.timestamp()
    if kind == "blob":
        return b"\x00blob", base64.b64encode(b"\x00blob").decode()
    return {"integer": (-7, -7), "long": (2**40, 2**40), "boolean": (False, False)}.get(kind, (1.5, 1.5))


def requests_and_outputs():
    session = botocore.session.get_session()
    requests, outputs = [], []
    for service in SERVICES:
        model = session.get_service_model(service)
        serializer = botocore.serialize.create_serializer(model.resolved_protocol, False)
        for operation in operations(service):
            shape = model.operation_model(operation)
            params, canonical = sample(shape.input_shape, "input") if shape.input_shape else ({}, {})
            request = serializer.serialize_to_request(params, shape)
            body = request["body"]
            if isinstance(body, dict):
                body = [[k, v if isinstance(v, str) else str(v)] for k, v in body.items()]
            else:
                body = body.decode()
            target = request["headers"].get("X-Amz-Target")
            requests.append(
                {"service": service, "operation": operation, "target": target, "body": body, "input": canonical}
            )
            _, output = sample(shape.output_shape, "output") if shape.output_shape else ({}, {})
            if not (shape.output_shape and shape.has_event_stream_output):
                outputs.append({"service": service, "operation": operation, "output": output})
    return requests, outputs


def signatures():
    """What botocore signs, in header and query, with and without token; the request as it goes out."""
    botocore.auth.get_current_datetime = lambda *_a, **_k: WHEN.replace(tzinfo=None)
    cases = []
    target = {"X-Amz-Target": "AmazonEC2ContainerServiceV20141113.RunTask", "Content-Type": "application/x-amz-json-1.1"}
    asked = [
        ("POST", "http://127.0.0.1:4566/", target, '{"taskDefinition":"web"}', "ecs"),
        ("POST", "https://ecs.eu-west-1.amazonaws.com/", target, '{"taskDefinition":"größe"}', "ecs"),
        ("POST", "http://localhost/", {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
         "Action=DescribeRegions&Version=2016-11-15", "ec2"),
        ("GET", "http://localhost:4566/?Action=GetCallerIdentity&Version=2011-06-15", {}, "", "sts"),
        ("GET", "http://localhost:4566/a%20b/c?z=1&a=%C3%A9&a=b%2Fc", {"X-Amz-Meta": "  two   words "}, "", "execute-api"),
    ]
    for method, url, headers, body, service in asked:
        for token in (None, "token/with+signs=="):
            for signer, where in ((botocore.auth.SigV4Auth, "header"), (botocore.auth.SigV4QueryAuth, "query")):
                if where == "query" and method == "POST":
                    continue
                keys = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
                request = AWSRequest(method=method, url=url, data=body.encode(), headers=dict(headers))
                signer(keys, service, "eu-west-1").add_auth(request)
                sent = request.prepare()
                cases.append({
                    "where": where, "service": service, "method": method, "url": sent.url, "body": body, "token": token,
                    "headers": {k: v if isinstance(v, str) else v.decode() for k, v in sent.headers.items()},
                })
    return {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "now": WHEN.timestamp(),
            "cases": cases}


def canonical(value):
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {k: canonical(v) for k, v in value.items()}
    return [canonical(v) for v in value] if isinstance(value, list) else value


def check():
    session = botocore.session.get_session()
    answers = json.loads((HERE / "answers.json").read_text())
    wanted = {(c["service"], c["operation"]): c["output"] for c in json.loads((HERE / "outputs.json").read_text())}
    failed = 0
    for answer in answers:
        model = session.get_service_model(answer["service"])
        parser = botocore.parsers.create_parser(model.resolved_protocol)
        shape = model.operation_model(answer["operation"]).output_shape
        status = answer.get("status", 200)
        told = {"status_code": status, "headers": {}, "body": answer["body"].encode()}
        parsed = canonical(parser.parse(told, shape))
        parsed.pop("ResponseMetadata", None)
        if status == 200:
            want = wanted[answer["service"], answer["operation"]]
        else:
            parsed, want = {k: parsed["Error"][k] for k in ("Code", "Message")}, answer["error"]
        if parsed != want:
            failed += 1
            print(f"{answer['service']} {answer['operation']}:\n  botocore reads {parsed}\n  wanted         {want}")
    print(f"{len(answers)} answers, {failed} read differently")
    return 1 if failed else 0


def rows(values):
    return "[\n" + ",\n".join(json.dumps(v, sort_keys=True, ensure_ascii=False) for v in values) + "\n]\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    made = requests_and_outputs()
    (HERE / "requests.json").write_text(rows(made[0]))
    (HERE / "outputs.json").write_text(rows(made[1]))
    (ROOT / "crates/wire/tests/data/signatures.json").write_text(json.dumps(signatures(), indent=1) + "\n")
