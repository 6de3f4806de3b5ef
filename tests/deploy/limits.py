"""What only AWS itself would refuse, held against the expanded template: its quotas, and its services' own models."""

import fnmatch
import json
import re
from collections.abc import Callable

import botocore.session
from botocore.validate import ParamValidator

from . import expand
from .expand import Template, of_type
from .report import Failed, Report

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
RESOURCES, OUTPUTS, PARAMETERS, TEMPLATE_BYTES, DESCRIPTION_BYTES = 500, 200, 200, 1_000_000, 1024
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
ROUTES, INTEGRATION_SECONDS = 300, 30
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html; half of it, for it grows with the routes.
POLICY_BYTES, ENVIRONMENT_BYTES = 20 * 1024 // 2, 4096
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html (inline policies of a role together)
ROLE_BYTES = 10_240
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
INDEXES, PROJECTED = 20, 100
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
ALARM_SECONDS, ALARM_METRICS = 86_400, 20
# Longer than any name, ARN or address that CloudFormation puts in the place of a reference.
LONGEST = "x" * 140


def resolved(value: object, stand_in: str = LONGEST) -> object:
    """A value with a text in the place of whatever CloudFormation resolves."""
    if isinstance(value, list):
        return [resolved(one, stand_in) for one in value]
    if not isinstance(value, dict):
        return value
    if "Fn::Sub" in value:
        text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
        return re.sub(r"\$\{[^}]+\}", stand_in, text)
    if len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::")):
        return stand_in
    return {name: resolved(one, stand_in) for name, one in value.items()}


def size(value: object) -> int:
    """Bytes of it as JSON, with nothing to spare between."""
    return len(json.dumps(value, separators=(",", ":"), default=str).encode())


def check(report: Report, source: Template, template: Template) -> None:
    """Checks all of it."""
    whole(report, template)
    routes(report, source, template)
    for function, properties in of_type(template, "AWS::Lambda::Function").items():
        one_function(report, template, function, properties)
    for name, role in of_type(template, "AWS::IAM::Role").items():
        policies = sum(size(resolved(policy["PolicyDocument"])) for policy in role.get("Policies", []))
        report.check(policies < ROLE_BYTES, f"role {name}: {policies} bytes of policies, of {ROLE_BYTES}", policies)
    for name, table in of_type(template, "AWS::DynamoDB::Table").items():
        one_table(report, name, table)
    alarms(report, template)
    for name, mapping in of_type(template, "AWS::Lambda::EventSourceMapping").items():
        one_mapping(report, template, name, mapping)


def whole(report: Report, template: Template) -> None:
    counted = [
        ("resources", len(template["Resources"]), RESOURCES),
        ("outputs", len(template.get("Outputs", {})), OUTPUTS),
        ("parameters", len(template.get("Parameters", {})), PARAMETERS),
        ("bytes", size(template), TEMPLATE_BYTES),
        ("bytes of description", len(template["Description"].encode()), DESCRIPTION_BYTES),
    ]
    for what, count, most in counted:
        report.check(count < most, f"expanded template: {count} {what}, of {most}", count)


def routes(report: Report, source: Template, template: Template) -> None:
    """API Gateway's bounds, and that it may invoke what each route leads to: without that, a route answers 500."""
    named, found = expand.named_routes(source), expand.body_routes(template)
    report.same(found, named, f"the API that SAM makes has the {len(named)} routes of template.yaml, and their functions")
    report.check(len(found) < ROUTES, f"{len(found)} routes, of {ROUTES}", len(found))
    shapes = [re.sub(r"\{\w+\}", "{}", key) for key in found]
    report.same(len(set(shapes)), len(shapes), "no two routes differ by their variables' names alone")
    odd = [key for key in found if re.search(r"[^/]\{|\}[^/]", key)]
    report.same(odd, [], "each variable is a whole segment of its path")
    # What is granted for more than there is would be another's to use: each grant names this API.
    permissions = list(of_type(template, "AWS::Lambda::Permission").values())
    for key, function in found.items():
        report.check(
            any(grants(permission, function, key) for permission in permissions),
            f"API Gateway may invoke {function} for {key}",
            [permission["SourceArn"] for permission in permissions],
        )


def grants(permission: dict, function: str, key: str) -> bool:
    """Whether a permission lets API Gateway invoke a function for a route."""
    if permission["FunctionName"] != {"Ref": function} or permission["Principal"] != "apigateway.amazonaws.com":
        return False
    arn, values = permission["SourceArn"]["Fn::Sub"]
    granted = arn.replace("${__ApiId__}", "api").replace("${__Stage__}", values["__Stage__"]).rsplit(":", 1)[1]
    method, path = ("*", "/$default") if key == expand.DEFAULT else key.split(" ", 1)
    # API Gateway asks with the route's own path, its variables in braces; a star is good for any of it.
    return any(
        fnmatch.fnmatchcase(f"api/$default/{method}{asked}", granted) for asked in {path, re.sub(r"\{\w+\}", "*", path)}
    )


def one_function(report: Report, template: Template, name: str, properties: dict) -> None:
    statements = [
        {"Sid": LONGEST, "Effect": "Allow"} | resolved(permission)
        for permission in of_type(template, "AWS::Lambda::Permission").values()
        if permission["FunctionName"] == {"Ref": name}
    ]
    policy = size({"Version": "2012-10-17", "Id": "default", "Statement": statements})
    report.check(policy < POLICY_BYTES, f"{name}: resource policy of {policy} bytes, of {POLICY_BYTES}", policy)
    variables = size(resolved(properties["Environment"]["Variables"]))
    report.check(variables < ENVIRONMENT_BYTES, f"{name}: environment of {variables} bytes, of {ENVIRONMENT_BYTES}", variables)
    if name in expand.body_routes(template).values():
        seconds = properties["Timeout"]
        report.check(seconds < INTEGRATION_SECONDS, f"{name}: gives up after {seconds} s, before its API does", seconds)


def one_table(report: Report, name: str, table: dict) -> None:
    indexes = table.get("GlobalSecondaryIndexes", [])
    keys = {key["AttributeName"] for of in [table, *indexes] for key in of["KeySchema"]}
    defined = {attribute["AttributeName"] for attribute in table["AttributeDefinitions"]}
    report.same(defined, keys, f"{name}: what it defines are its keys, and its indexes' keys")
    projected = sum(len(index["Projection"].get("NonKeyAttributes", [])) for index in indexes)
    holds = len(indexes) <= INDEXES and projected <= PROJECTED
    report.check(holds, f"{name}: {len(indexes)} indexes, {projected} attributes projected, of {PROJECTED}", indexes)


def alarms(report: Report, template: Template) -> None:
    """Alarms and dashboards as CloudWatch reads them; what an alarm watches by an expression is deployed nowhere else."""
    model = botocore.session.get_session().get_service_model("cloudwatch")
    shape = model.operation_model("PutMetricAlarm").input_shape
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        asked = {"AlarmName": name} | resolved(alarm)
        faults = ParamValidator().validate(asked, shape)
        report.check(not faults.has_errors(), f"alarm {name}: PutMetricAlarm takes it", faults.generate_report())
        metrics = asked.get("Metrics", [])
        periods = [asked["Period"]] if "Period" in asked else [one["MetricStat"]["Period"] for one in metrics if "MetricStat" in one]
        longest = max(periods) * asked["EvaluationPeriods"]
        holds = longest <= ALARM_SECONDS and all(period % 60 == 0 for period in periods) and len(metrics) <= ALARM_METRICS
        report.check(holds, f"alarm {name}: looks at {longest} s, of {ALARM_SECONDS}", (periods, len(metrics)))
        if metrics:
            expressions(report, name, metrics)
    for name, dashboard in of_type(template, "AWS::CloudWatch::Dashboard").items():
        body = resolved(dashboard["DashboardBody"], "stack")
        try:
            widgets = json.loads(body)["widgets"]
        except ValueError as error:
            raise Failed(f"dashboard {name}: {error}") from error
        complete = all({"type", "x", "y", "width", "height", "properties"} <= set(widget) for widget in widgets)
        report.check(bool(widgets) and complete, f"dashboard {name}: JSON of {len(widgets)} widgets", widgets)


def expressions(report: Report, name: str, metrics: list[dict]) -> None:
    """One result is what the alarm watches, and an expression uses only what is there."""
    shown = [metric["Id"] for metric in metrics if metric.get("ReturnData", True)]
    report.check(len(shown) == 1, f"alarm {name}: watches one result, {shown}", shown)
    ids = {metric["Id"] for metric in metrics}
    words: Callable[[str], set[str]] = lambda text: set(re.findall(r"\b[a-z]\w*\b", text))
    used = set().union(*(words(metric["Expression"]) for metric in metrics if "Expression" in metric))
    report.check(used <= ids, f"alarm {name}: its expression uses {sorted(used)}, which are there", used - ids)


def one_mapping(report: Report, template: Template, name: str, mapping: dict) -> None:
    queue = template["Resources"][mapping["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
    function = template["Resources"][mapping["FunctionName"]["Ref"]]["Properties"]
    visibility, timeout = queue["VisibilityTimeout"], function["Timeout"]
    # Lambda refuses less than the timeout, and advises six times as much.
    report.check(visibility >= 6 * timeout, f"{name}: visibility of {visibility} s, for a timeout of {timeout} s", visibility)
