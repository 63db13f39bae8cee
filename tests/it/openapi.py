"""Validates an OpenAPI document, and what a server answered against it.

The answers come on standard input, one JSON object on each line: method, path, status, headers (a list of pairs) and
body; or event and body for what came as a server-sent event.
"""

import copy
import json
import re
import sys

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

HERE = "urn:natpulse"
EVENTS = {"history": "History", "status": "Status"}
# What a healthy server never answers, and so none of these tests sees.
UNSEEN = {"500"}

with open(sys.argv[1], encoding="utf-8") as file:
    document = json.load(file)
validate(document)
registry = Registry().with_resource(HERE, Resource.from_contents(document, DRAFT202012))


def escaped(part):
    return part.replace("~", "~0").replace("/", "~1")


def resolved(pointer):
    """The pointer of what stands there, behind any reference, and what that is."""
    value = document
    for part in pointer.split("/")[1:]:
        value = value[part.replace("~1", "/").replace("~0", "~")]
    return resolved(value["$ref"][1:]) if "$ref" in value else (pointer, value)


def validator(pointer):
    schema = {"$ref": f"{HERE}#{pointer}"}
    return Draft202012Validator(schema, registry=registry)


def objects(value):
    """Every object in a value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from objects(item)


def check(where, pointer, body):
    """The body is as documented; and it would not be with a field more or less."""
    schema = validator(pointer)
    for error in schema.iter_errors(body):
        raise SystemExit(f"{where}: {error.json_path}: {error.message}")
    for place in range(len(list(objects(body)))):
        more = copy.deepcopy(body)
        list(objects(more))[place]["undocumented"] = 1
        assert not schema.is_valid(more), f"{where}: a field more is not noticed in {more}"
        for key in list(objects(body))[place]:
            less = copy.deepcopy(body)
            del list(objects(less))[place][key]
            assert not schema.is_valid(less), f"{where}: {key} is not missed in {less}"


def template(path):
    for known in document["paths"]:
        if re.fullmatch(re.sub(r"\{[^/]*\}", "[^/]+", known), path.partition("?")[0]):
            return known
    return None


seen = set()
for line in sys.stdin:
    answer = json.loads(line)
    if "event" in answer:
        seen.add(answer["event"])
        check(answer["event"], f"/components/schemas/{EVENTS[answer['event']]}", answer["body"])
        continue
    method, path, status = answer["method"], answer["path"], str(answer["status"])
    where = f"{method} {path}: {status}"
    headers = [(name.lower(), value) for name, value in answer["headers"]]
    known = template(path)
    operations = [] if known is None else [key for key in document["paths"][known] if key != "parameters"]
    if known is None or method.lower() not in operations:
        # What the document says of all such requests in its description.
        assert status == ("404" if known is None else "405"), where
        check(where, "/components/schemas/Error", json.loads(answer["body"]))
        if status == "404":
            # A path ends before a comma, a blank or the end; the rest of the sentence begins with none.
            told = re.findall(r"(?<= )/[^ ,]*", json.loads(answer["body"])["error"])
            assert sorted(told) == sorted(document["paths"]), f"{where}: {told}"
        else:
            allowed = [name.upper() for name in operations] + ["HEAD"] * ("get" in operations)
            told = [value.upper().split(", ") for name, value in headers if name == "allow"]
            assert [sorted(names) for names in told] == [sorted(allowed)], f"{where}: {told}"
        seen.add(status)
        continue
    place = f"/paths/{escaped(known)}/{method.lower()}/responses"
    assert status in resolved(place)[1], f"{where} is not in the document"
    pointer, response = resolved(f"{place}/{status}")
    seen.add((known, method, status))
    for name, header in response["headers"].items():
        values = [value for key, value in headers if key == name]
        assert values, f"{where}: no {name}"
        for value in values:
            Draft202012Validator(header["schema"]).validate(value)
    types = [value for name, value in headers if name == "content-type"]
    assert types == list(response.get("content", {})), f"{where}: {types}"
    if not types:
        assert answer["body"] == "", where
        continue
    pointer = f"{pointer}/content/{escaped(types[0])}/schema"
    if types != ["application/json"]:
        validator(pointer).validate(answer["body"])
    elif (known, status) == ("/api/openapi.json", "200"):
        assert json.loads(answer["body"]) == document, "another document is served"
    else:
        check(where, pointer, json.loads(answer["body"]))

wanted = {"404", "405", *EVENTS}
for path, operations in document["paths"].items():
    for method, operation in operations.items():
        if method != "parameters":
            wanted |= {(path, method.upper(), status) for status in operation["responses"] if status not in UNSEEN}
assert seen == wanted, f"never answered: {wanted - seen}; not documented: {seen - wanted}"

# What is documented of parameters, for a test that asks with all of them.
for path, operations in document["paths"].items():
    for parameter in operations.get("get", {}).get("parameters", []):
        if "$ref" in parameter:
            parameter = resolved(parameter["$ref"][1:])[1]
        print(json.dumps({"path": path, "name": parameter["name"], "schema": parameter["schema"]}))
print("all as documented")
