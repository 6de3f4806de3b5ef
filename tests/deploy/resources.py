"""Each resource of the expanded template is there, with the template's own properties, as far as this server tells them."""

import json
from collections.abc import Callable

from . import expand
from .expand import Template, of_type
from .report import Report
from .resolve import Resolver
from .stack import Stack

Checker = Callable[["Resources", str, dict], object]


class Resources:
    """The resources of one stack, looked at through their services' own APIs."""

    def __init__(self, report: Report, stack: Stack, template: Template) -> None:
        self.report, self.stack, self.template = report, stack, template
        self.resolve = Resolver(stack, template)
        self.client = stack.cloud.client
        self.physical = stack.physical

    def check(self) -> None:
        """Checks all of them, by their types."""
        for name, resource in self.template["Resources"].items():
            properties = self.resolve(resource.get("Properties", {}))
            CHECKERS[resource["Type"]](self, name, properties)
        self.routes()
        outputs = self.stack.outputs()
        self.report.same(sorted(outputs), sorted(self.template["Outputs"]), f"the stack tells {len(outputs)} outputs")
        self.report.check(all(outputs.values()), "each output says something", outputs)

    def has(self, name: str, found: dict, expected: dict) -> None:
        """What a service tells of a resource includes what the template says."""
        wrong = {key: (found.get(key), value) for key, value in expected.items() if not alike(found.get(key), value)}
        self.report.check(not wrong, f"{name}: {', '.join(expected) or 'is there'}", wrong)

    def shown(self, name: str, found: dict, expected: dict, is_told: bool) -> None:
        """The same for what this server's CloudFormation drops: said aloud, and checked as soon as it is told."""
        if is_told:
            self.has(name, found, expected)
        else:
            self.report.unseen(f"{name}: {', '.join(expected)}")

    def function(self, name: str, properties: dict) -> None:
        found = self.client("lambda").get_function_configuration(FunctionName=self.physical[name])
        plain = ["Handler", "Runtime", "MemorySize", "Timeout", "Architectures", "Role", "Description", "LoggingConfig"]
        self.has(name, found, {key: properties[key] for key in plain})
        self.has(f"{name}'s environment", found["Environment"]["Variables"], properties["Environment"]["Variables"])
        if "RecursiveLoop" in properties:
            answer = self.client("lambda").get_function_recursion_config(FunctionName=self.physical[name])
            wanted = {"RecursiveLoop": properties["RecursiveLoop"]}
            self.shown(name, answer, wanted, answer.get("RecursiveLoop") != "Terminate")

    def permission(self, name: str, properties: dict) -> None:
        policy = self.client("lambda").get_policy(FunctionName=properties["FunctionName"])["Policy"]
        granted = [
            (one["Principal"]["Service"], one["Action"], one.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn"))
            for one in json.loads(policy)["Statement"]
        ]
        asked = (properties["Principal"], properties["Action"], properties["SourceArn"])
        self.report.check(asked in granted, f"{name}: {asked[2]}", granted)

    def mapping(self, name: str, properties: dict) -> None:
        found = self.client("lambda").get_event_source_mapping(UUID=self.physical[name])
        function = properties.pop("FunctionName")
        self.has(name, found, properties | {"State": "Enabled"})
        self.report.check(found["FunctionArn"].endswith(f":{function}"), f"{name}: leads to {function}", found)

    def invoke_config(self, name: str, properties: dict) -> None:
        client = self.client("lambda")
        found = client.get_function_event_invoke_config(FunctionName=properties["FunctionName"], Qualifier="$LATEST")
        self.has(name, found, {"MaximumRetryAttempts": properties["MaximumRetryAttempts"]})

    def rule(self, name: str, properties: dict) -> None:
        client, identifier = self.client("events"), self.physical[name]
        found = client.describe_rule(Name=identifier)
        self.has(name, found, {key: properties[key] for key in ("Description", "ScheduleExpression")} | {"State": "ENABLED"})
        targets = client.list_targets_by_rule(Rule=identifier)["Targets"]
        self.has(f"{name}'s targets", {"Targets": targets}, {"Targets": properties["Targets"]})

    def table(self, name: str, properties: dict) -> None:
        client, identifier = self.client("dynamodb"), self.physical[name]
        found = client.describe_table(TableName=identifier)["Table"]
        sse = found.get("SSEDescription", {})
        found["BillingMode"] = found.get("BillingModeSummary", {}).get("BillingMode")
        plain = ["KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode"]
        self.has(name, found, {key: properties[key] for key in plain if key in properties})
        wanted = properties["SSESpecification"]
        expected = {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": wanted["KMSMasterKeyId"]}
        self.shown(f"{name}'s encryption", sse, expected, bool(sse))
        ttl = client.describe_time_to_live(TableName=identifier)["TimeToLiveDescription"]
        wanted = properties.get("TimeToLiveSpecification")
        expected = {"TimeToLiveStatus": "ENABLED" if wanted else "DISABLED"}
        expected |= {"AttributeName": wanted["AttributeName"]} if wanted else {}
        self.shown(f"{name}'s expiry", ttl, expected, not wanted or ttl["TimeToLiveStatus"] != "DISABLED")
        backups = client.describe_continuous_backups(TableName=identifier)["ContinuousBackupsDescription"]
        recovery = backups["PointInTimeRecoveryDescription"]
        wanted = {"PointInTimeRecoveryStatus": "ENABLED"}
        self.shown(f"{name}'s backups", recovery, wanted, recovery["PointInTimeRecoveryStatus"] != "DISABLED")

    def queue(self, name: str, properties: dict) -> None:
        client = self.client("sqs")
        found = client.get_queue_attributes(QueueUrl=self.physical[name], AttributeNames=["All"])["Attributes"]
        queue = properties.pop("QueueName", None)
        self.report.check(not queue or found["QueueArn"].endswith(f":{queue}"), f"{name}: is {queue or 'unnamed'}", found)
        for policy in ("RedrivePolicy", "RedriveAllowPolicy"):
            if policy in found:
                found[policy] = json.loads(found[policy])
        self.has(name, found, properties)

    def alarm(self, name: str, properties: dict) -> None:
        found = self.client("cloudwatch").describe_alarms(AlarmNames=[self.physical[name]])["MetricAlarms"]
        self.report.check(len(found) == 1, f"{name}: is there", found)
        self.has(name, found[0], properties)

    def dashboard(self, name: str, properties: dict) -> None:
        body = self.client("cloudwatch").get_dashboard(DashboardName=self.physical[name])["DashboardBody"]
        self.report.same(json.loads(body), json.loads(properties["DashboardBody"]), f"{name}: its widgets, resolved")

    def logs(self, name: str, properties: dict) -> None:
        wanted = properties["LogGroupName"]
        found = self.client("logs").describe_log_groups(logGroupNamePrefix=wanted)["logGroups"]
        days = int(properties["RetentionInDays"])
        self.has(name, found[0] if found else {}, {"logGroupName": wanted, "retentionInDays": days})

    def key(self, name: str, properties: dict) -> None:
        client, identifier = self.client("kms"), self.physical[name]
        found = client.describe_key(KeyId=identifier)["KeyMetadata"]
        self.has(name, found, {"Description": properties["Description"], "Enabled": True})
        rotated = client.get_key_rotation_status(KeyId=identifier)
        self.has(name, rotated, {"KeyRotationEnabled": properties["EnableKeyRotation"]})
        policy = json.loads(client.get_key_policy(KeyId=identifier, PolicyName="default")["Policy"])
        self.report.same(policy, properties["KeyPolicy"], f"{name}: its policy")

    def alias(self, name: str, properties: dict) -> None:
        aliases = self.client("kms").list_aliases()["Aliases"]
        leads = {one["AliasName"]: one.get("TargetKeyId") for one in aliases}
        self.has(name, {"leads to": leads.get(properties["AliasName"])}, {"leads to": properties["TargetKeyId"]})

    def role(self, name: str, properties: dict) -> None:
        client, identifier = self.client("iam"), self.physical[name]
        attached = client.list_attached_role_policies(RoleName=identifier)["AttachedPolicies"]
        arns = sorted(one["PolicyArn"] for one in attached)
        self.report.same(arns, sorted(properties.get("ManagedPolicyArns", [])), f"{name}: managed policies")
        for policy in properties.get("Policies", []):
            found = client.get_role_policy(RoleName=identifier, PolicyName=policy["PolicyName"])["PolicyDocument"]
            statements = policy["PolicyDocument"]["Statement"]
            self.report.same(found["Statement"], statements, f"{name}: {len(statements)} statements of {policy['PolicyName']}")

    def api(self, name: str, properties: dict) -> None:
        found = self.client("apigatewayv2").get_api(ApiId=self.physical[name])
        self.has(name, found, properties)

    def stage(self, name: str, properties: dict) -> None:
        client = self.client("apigatewayv2")
        found = client.get_stage(ApiId=properties["ApiId"], StageName=properties["StageName"])
        self.has(name, found, {key: properties[key] for key in ("StageName", "AutoDeploy")})

    def later(self, name: str, properties: dict) -> None:
        """Routes and integrations are looked at together."""

    def routes(self) -> None:
        """Each route leads to the function that the template names, and there is no other."""
        client, (api,) = self.client("apigatewayv2"), of_type(self.template, "AWS::ApiGatewayV2::Api")
        whole = {"ApiId": self.physical[api]}
        pages = client.get_paginator("get_routes").paginate(**whole)
        found = {one["RouteKey"]: one["Target"].split("/")[-1] for page in pages for one in page["Items"]}
        leads = {one["IntegrationId"]: one for one in client.get_integrations(**whole)["Items"]}
        wanted = {
            route["RouteKey"]: self.resolve(route["Target"]).split("/")[-1]
            for route in of_type(self.template, "AWS::ApiGatewayV2::Route").values()
        }
        self.report.same(sorted(found), sorted(wanted), f"the API has {len(wanted)} routes")
        for key, integration in sorted(found.items()):
            function = leads[integration]["IntegrationUri"].split(":function:")[-1].removesuffix("/invocations")
            names = [name for name, identifier in self.physical.items() if identifier == function]
            self.report.same(names, [self.leads(wanted[key])], f"route {key} -> {names[0] if names else '?'}")

    def leads(self, integration: str) -> str:
        """The function of an integration, as the template has it."""
        for name, one in of_type(self.template, "AWS::ApiGatewayV2::Integration").items():
            if self.physical[name] == integration:
                return one["IntegrationUri"]["Fn::GetAtt"][0]
        return "none"


CHECKERS: dict[str, Checker] = {
    "AWS::ApiGatewayV2::Api": Resources.api,
    "AWS::ApiGatewayV2::Integration": Resources.later,
    "AWS::ApiGatewayV2::Route": Resources.later,
    "AWS::ApiGatewayV2::Stage": Resources.stage,
    "AWS::CloudWatch::Alarm": Resources.alarm,
    "AWS::CloudWatch::Dashboard": Resources.dashboard,
    "AWS::DynamoDB::Table": Resources.table,
    "AWS::Events::Rule": Resources.rule,
    "AWS::IAM::Role": Resources.role,
    "AWS::KMS::Alias": Resources.alias,
    "AWS::KMS::Key": Resources.key,
    "AWS::Lambda::EventInvokeConfig": Resources.invoke_config,
    "AWS::Lambda::EventSourceMapping": Resources.mapping,
    "AWS::Lambda::Function": Resources.function,
    "AWS::Lambda::Permission": Resources.permission,
    "AWS::Logs::LogGroup": Resources.logs,
    "AWS::SQS::Queue": Resources.queue,
}


def alike(found: object, expected: object) -> bool:
    """Whether a service tells what was asked for: more may be told, lists may be turned, and numbers may be texts."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return all(alike(found.get(key), value) for key, value in expected.items())
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(any(alike(one, other) for one in found) for other in expected)
    if isinstance(expected, bool):
        return str(found).lower() == str(expected).lower()
    if isinstance(expected, (int, float)) or isinstance(found, (int, float)):
        return found is not None and float(found) == float(expected)
    return found == expected
