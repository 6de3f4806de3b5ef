"""What CloudFormation makes of a template's references, once its resources are there."""

import re

from .expand import Template
from .servers import ACCOUNT, REGION
from .stack import Stack

PSEUDO = {"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}
# What stands between the account and the resource's own name in an ARN, and how that name is had from the physical id.
ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{id}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{id}",
    "AWS::IAM::Role": "iam::{account}:role/{id}",
    "AWS::KMS::Key": "kms:{region}:{account}:key/{id}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{id}:*",
    "AWS::Events::Rule": "events:{region}:{account}:rule/{id}",
}
NOTHING = object()


class Resolver:
    """Resolves values of one stack's template."""

    def __init__(self, stack: Stack, template: Template) -> None:
        self.stack, self.template = stack, template
        given = {name: str(one.get("Default", "")) for name, one in template["Parameters"].items()}
        self.values = given | stack.parameters | PSEUDO | {"AWS::StackName": stack.name}

    def ref(self, name: str) -> object:
        """What `Ref` says."""
        if name == "AWS::NoValue":
            return NOTHING
        return self.values.get(name) or self.stack.physical.get(name, "")

    def get(self, name: str, attribute: str) -> str:
        """What `Fn::GetAtt` says."""
        identifier = self.stack.physical[name]
        last = identifier.rsplit("/", 1)[-1]
        if attribute == "Arn":
            kind = self.template["Resources"][name]["Type"]
            return "arn:aws:" + ARNS[kind].format(region=REGION, account=ACCOUNT, id=identifier, name=last)
        if attribute == "QueueName":
            return last
        raise NotImplementedError(f"{name}.{attribute}")

    def __call__(self, value: object) -> object:
        """A value with nothing left to resolve."""
        if isinstance(value, list):
            return [one for one in map(self, value) if one is not NOTHING]
        if not isinstance(value, dict):
            return value
        if "Ref" in value:
            return self.ref(value["Ref"])
        if "Fn::GetAtt" in value:
            of = value["Fn::GetAtt"]
            return self.get(*(of.split(".", 1) if isinstance(of, str) else of))
        if "Fn::Sub" in value:
            return self.substitute(value["Fn::Sub"])
        resolved = {name: self(one) for name, one in value.items()}
        return {name: one for name, one in resolved.items() if one is not NOTHING}

    def substitute(self, given: str | list) -> str:
        """What `Fn::Sub` says."""
        text, own = (given, {}) if isinstance(given, str) else given
        own = {name: self(one) for name, one in own.items()}

        def one(found: re.Match[str]) -> str:
            name = found.group(1)
            if name in own:
                return str(own[name])
            return self.get(*name.split(".", 1)) if "." in name else str(self.ref(name))

        return re.sub(r"\$\{([^}]+)\}", one, text)
