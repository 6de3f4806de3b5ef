"""template.yaml as CloudFormation sees it: expanded by SAM's own translator, and, since ministack reads no OpenAPI body,
with each route as a resource of its own."""

import copy
import json
import pathlib
import re

import boto3
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from .servers import REGION

BASIC_ROLE = {"AWSLambdaBasicExecutionRole": "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"}
# The translator wants to see an address in S3; `sam deploy` puts the real one in.
SOMEWHERE = "s3://bucket/key"
ANY = "x-amazon-apigateway-any-method"
DEFAULT = "$default"

Template = dict


def load(path: pathlib.Path) -> Template:
    """A template as it stands."""
    return yaml_parse(path.read_text(encoding="utf-8"))


def of_type(template: Template, kind: str) -> dict[str, dict]:
    """The properties of all resources of a type, by their names."""
    resources = template["Resources"].items()
    return {name: resource.get("Properties", {}) for name, resource in resources if resource["Type"] == kind}


def named_routes(source: Template) -> dict[str, str]:
    """The routes that template.yaml names, as API Gateway's keys, with the function of each."""
    routes = {}
    for function, properties in of_type(source, "AWS::Serverless::Function").items():
        for event in properties.get("Events", {}).values():
            if event["Type"] == "HttpApi":
                method, path = event["Properties"]["Method"], event["Properties"]["Path"]
                routes[DEFAULT if path == DEFAULT else f"{method} {path}"] = function
    return routes


def translate(source: Template, parameters: dict[str, str]) -> Template:
    """What SAM makes of it, on AWS as here."""
    source = copy.deepcopy(source)
    for function in of_type(source, "AWS::Serverless::Function").values():
        function["CodeUri"] = SOMEWHERE
    session = boto3.Session(region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")
    return Translator(BASIC_ROLE, Parser(), boto_session=session).translate(source, parameters)


def body_routes(template: Template) -> dict[str, str]:
    """The routes of the expanded API, as its OpenAPI body has them."""
    routes = {}
    for api in of_type(template, "AWS::ApiGatewayV2::Api").values():
        for path, methods in api["Body"]["paths"].items():
            for method, operation in methods.items():
                uri = json.dumps(operation["x-amazon-apigateway-integration"]["uri"])
                function = re.search(r"\$\{(\w+)\.Arn\}", uri).group(1)
                routes[DEFAULT if path == DEFAULT else f"{'ANY' if method == ANY else method.upper()} {path}"] = function
    return routes


def with_routes(template: Template) -> Template:
    """The same, each route a resource: what API Gateway makes of the body that it imports."""
    template = copy.deepcopy(template)
    resources = template["Resources"]
    (api,) = of_type(template, "AWS::ApiGatewayV2::Api")
    routes = body_routes(template)
    resources[api]["Properties"] = {"Name": {"Ref": "AWS::StackName"}, "ProtocolType": "HTTP"}
    for function in sorted(set(routes.values())):
        resources[f"{function}Integration"] = {
            "Type": "AWS::ApiGatewayV2::Integration",
            "Properties": {
                "ApiId": {"Ref": api},
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": {"Fn::GetAtt": [function, "Arn"]},
                "PayloadFormatVersion": "2.0",
            },
        }
    for number, (key, function) in enumerate(routes.items()):
        resources[f"Route{number}"] = {
            "Type": "AWS::ApiGatewayV2::Route",
            "Properties": {
                "ApiId": {"Ref": api},
                "RouteKey": key,
                "Target": {"Fn::Sub": f"integrations/${{{function}Integration}}"},
            },
        }
    return template


def for_ministack(template: Template, code: dict[str, str] | dict[str, dict], environment: dict[str, str]) -> Template:
    """The same with the code of each function, and with what only this server needs."""
    template = with_routes(template)
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        function["Code"] = code[name]
        # Receivers here are on loopback.
        function["Environment"]["Variables"] |= {"POSTRIDER_ALLOW_PRIVATE_TARGETS": "true"} | environment
    # It keeps a parameter's number as the text that it came as, and compares it with a number then: no queue is polled.
    for mapping in of_type(template, "AWS::Lambda::EventSourceMapping").values():
        most = template["Parameters"][mapping["ScalingConfig"]["MaximumConcurrency"]["Ref"]]["Default"]
        mapping["ScalingConfig"]["MaximumConcurrency"] = int(most)
    # It takes no alarm on an expression; `limits.py` holds those to CloudWatch's own model.
    for name in metric_math(template):
        del template["Resources"][name]
    return template


def metric_math(template: Template) -> list[str]:
    """Alarms that watch an expression."""
    return [name for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items() if "Metrics" in alarm]


def hurried(template: Template, timeout: int, visibility: int) -> Template:
    """The same with a delivery function and queues that give up after seconds, so that a test need not wait for minutes."""
    template = copy.deepcopy(template)
    template["Resources"]["DeliveryFunction"]["Properties"]["Timeout"] = timeout
    for queue in of_type(template, "AWS::SQS::Queue").values():
        if "VisibilityTimeout" in queue:
            queue["VisibilityTimeout"] = visibility
    return template
