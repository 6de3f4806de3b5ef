"""A stack of the test's: deployed by SAM's command line as users deploy it, and looked into."""

import dataclasses
import functools
import json
import pathlib
import subprocess

from samcli.yamlhelper import yaml_parse

from .expand import Template, of_type
from .report import Failed, until
from .servers import Cloud

# As README asks for it; good on this server alone.
OPERATOR = "prk_deploy0000000000_0123456789ABCDEFGHIJKLMNOPQRSTUV"
DEPLOY_SECONDS = 180


@dataclasses.dataclass
class Stack:
    """One that was deployed, or will be."""

    cloud: Cloud
    name: str
    sam: str
    parameters: dict[str, str]
    # What was deployed last.
    template: Template = dataclasses.field(default_factory=dict)

    def deploy(self, template: Template) -> None:
        """Makes it, or updates it."""
        self.template, file = template, self.cloud.folder / f"{self.name}.json"
        file.write_text(json.dumps(template, indent=1), encoding="utf-8")
        overrides = [f"{name}={value}" for name, value in self.parameters.items()]
        command = [self.sam, "deploy", "--template-file", str(file), "--stack-name", self.name, "--resolve-s3"]
        command += ["--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar", "--region", "us-east-1"]
        command += ["--parameter-overrides", *overrides]
        # SAM keeps what it knows of stacks in the home directory.
        env = self.cloud.env | {"SAM_CLI_TELEMETRY": "0", "HOME": str(self.cloud.folder)}
        done = subprocess.run(
            command, env=env, cwd=self.cloud.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=DEPLOY_SECONDS, check=False,
        )
        self.__dict__.pop("physical", None)
        if done.returncode:
            raise Failed(f"sam deploy of {self.name}:\n{done.stdout[-6000:]}{done.stderr[-6000:]}")

    def code(self) -> dict[str, dict]:
        """Where `sam deploy` put each function's code."""
        template = self.cloud.client("cloudformation").get_template(StackName=self.name)["TemplateBody"]
        template = template if isinstance(template, dict) else yaml_parse(template)
        return {name: function["Code"] for name, function in of_type(template, "AWS::Lambda::Function").items()}

    def put(self, template: Template) -> None:
        """Makes it, or updates it, without SAM, whose packing takes longer than all the rest: its code is in S3 already."""
        s3, cloudformation = self.cloud.client("s3"), self.cloud.client("cloudformation")
        bucket = next(iter(of_type(template, "AWS::Lambda::Function").values()))["Code"]["S3Bucket"]
        s3.put_object(Bucket=bucket, Key=f"{self.name}.json", Body=json.dumps(template).encode())
        asked = {
            "StackName": self.name,
            "TemplateURL": f"{self.cloud.url}/{bucket}/{self.name}.json",
            "Capabilities": ["CAPABILITY_IAM"],
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()],
        }
        is_new, self.template = not self.template, template
        (cloudformation.create_stack if is_new else cloudformation.update_stack)(**asked)
        self.__dict__.pop("physical", None)
        status = until(self.settled, f"{self.name} is there", DEPLOY_SECONDS)
        if status != ("CREATE_COMPLETE" if is_new else "UPDATE_COMPLETE"):
            raise Failed(f"{self.name}: {status}: {self.describe().get('StackStatusReason')}")

    def settled(self) -> str | None:
        """What became of it, once something has."""
        status = self.describe()["StackStatus"]
        return None if status.endswith("IN_PROGRESS") else status

    @functools.cached_property
    def physical(self) -> dict[str, str]:
        """The physical ids of its resources, by their names in the template."""
        pages = self.cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        found = [one for page in pages for one in page["StackResourceSummaries"]]
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}

    def describe(self) -> dict:
        """What CloudFormation tells of it."""
        return self.cloud.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]

    def outputs(self) -> dict[str, str]:
        """What the template tells its users."""
        return {one["OutputKey"]: one["OutputValue"] for one in self.describe()["Outputs"]}

    def logs(self) -> str:
        """The last lines of each of its functions' logs."""
        client, text = self.cloud.client("logs"), []
        for group in client.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{self.name}")["logGroups"]:
            events = client.filter_log_events(logGroupName=group["logGroupName"], limit=1000).get("events", [])
            text += [f"--- {group['logGroupName']}", *(event["message"].rstrip() for event in events[-20:])]
        return "\n".join(text)


def bootstraps(source: Template, folder: pathlib.Path) -> dict[str, str]:
    """Each function's code in a folder of bootstraps, as cargo-lambda lays them out."""
    code = {}
    for name, resource in source["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            place = folder / resource["Metadata"]["BuildProperties"]["Binary"]
            if not (place / "bootstrap").is_file():
                raise Failed(f"{place}/bootstrap is not there")
            code[name] = str(place.resolve())
    return code
