"""Deploys the whole of template.yaml to ministack, looks at every resource, tells the story through the deployed API, and makes
faults in it. `make test-deploy` runs it.

It prints a line for each thing that holds, and ends at the first that does not, with the functions' logs.
"""

import argparse
import contextlib
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from . import decide, events, expand, limits, resources, story
from .expand import Template
from .faults import TIMEOUT, VISIBILITY, Faults
from .receiver import Receiver, receiver
from .report import Failed, Report
from .servers import Cloud, cloud
from .stack import OPERATOR, Stack, bootstraps

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
EVENTS = REPOSITORY / "tests" / "events"
# The tests' processor, whatever is deployed.
PARAMETERS = {"Architecture": "x86_64", "OperatorKeySha256": hashlib.sha256(OPERATOR.encode()).hexdigest()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="deploy", description=__doc__.splitlines()[0])
    for program in ("ministack", "microburst", "sam"):
        parser.add_argument(f"--{program}", type=os.path.abspath, required=True, metavar="PROGRAM")
    parser.add_argument("--bootstraps", type=pathlib.Path, metavar="DIR", help="take DIR/publish/bootstrap and so on, and build nothing")
    parser.add_argument("--only", choices=["story", "faults"], help="leave the other out")
    return parser.parse_args()


def built(sam: str, source: Template, folder: pathlib.Path) -> dict[str, str]:
    """Each function's code as `sam build` leaves it."""
    command = [sam, "build", "--template-file", str(REPOSITORY / "template.yaml"), "--build-dir", str(folder / "build")]
    command += ["--parameter-overrides", f"Architecture={PARAMETERS['Architecture']}"]
    done = subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise Failed("sam build failed")
    return {name: str(folder / "build" / name) for name in expand.of_type(source, "AWS::Serverless::Function")}


def told(report: Report, stack: Stack, source: Template, receiver: Receiver) -> dict | None:
    """The stack as it is for users: its resources and its story; how far its scheduler had looked before the latter."""
    report.part("what is deployed")
    resources.Resources(report, stack, stack.template).check()
    report.part("each route answers")
    story.routes_answer(report, stack, source)
    report.part("event files")
    events.check(report, stack, source, EVENTS)
    # One of them was the scheduler's.
    before = story.looked_until(stack)
    report.part("the story")
    story.Story(report, stack, receiver).tell()
    story.nothing_left(report, stack)
    return before


def ended(report: Report, stack: Stack, before: dict | None) -> None:
    report.part("the schedule, and the end")
    story.schedule_runs(report, stack, before)
    story.deleted(report, stack, stack.template)


def faulty(report: Report, servers: Cloud, template: Template, code: dict, sam: str, receiver: Receiver) -> Stack:
    """A second stack that gives up after seconds, whose calls of AWS go through the proxy."""
    report.part("faults in a deployment")
    proxy = {f"AWS_ENDPOINT_URL_{service}": servers.proxy_url for service in ("DYNAMODB", "SQS")}
    # All that a batch has goes to one host here.
    stack = Stack(servers, "faults", sam, PARAMETERS | {"MaxPerHost": "10"})
    stack.put(expand.hurried(expand.for_ministack(template, code, proxy), TIMEOUT, VISIBILITY))
    schedule = (EVENTS / "schedule.json").read_bytes()
    Faults(report, stack, receiver, schedule).all()
    return stack


def run(args: argparse.Namespace, report: Report, folder: pathlib.Path) -> None:
    source = expand.load(REPOSITORY / "template.yaml")
    report.part("what AWS would refuse")
    template = decide.decided(expand.translate(source, PARAMETERS), PARAMETERS)
    limits.check(report, source, template)
    report.part("built" if not args.bootstraps else "bootstraps as given")
    code = bootstraps(source, args.bootstraps) if args.bootstraps else built(args.sam, source, folder)
    report.ok(f"{len(code)} bootstraps")
    with cloud(args.ministack, args.microburst, folder) as servers, receiver() as receivers:
        stack = Stack(servers, "story", args.sam, PARAMETERS)
        try:
            report.part("sam deploy")
            stack.deploy(expand.for_ministack(template, code, {}))
            report.same(stack.describe()["StackStatus"], "CREATE_COMPLETE", "template.yaml is deployed")
            if args.only != "faults":
                before = told(report, stack, source, receivers)
            if args.only != "story":
                faulty(report, servers, template, stack.code(), args.sam, receivers)
            # Last, for the schedule's minute is over by then.
            if args.only != "faults":
                ended(report, stack, before)
        except BaseException:
            explain(servers)
            raise


def explain(servers: Cloud) -> None:
    """What the functions and the server said."""
    for name in ("story", "faults"):
        with contextlib.suppress(Exception):
            print(Stack(servers, name, "", {}).logs(), file=sys.stderr)
    print(servers.ministack.tail(), file=sys.stderr)


def main() -> None:
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    with tempfile.TemporaryDirectory(prefix="postrider-deploy-", ignore_cleanup_errors=True) as folder:
        try:
            run(arguments(), report, pathlib.Path(folder))
        except Failed as failed:
            sys.exit(f"\nFAILED: {failed}")
    print(report.summary())


if __name__ == "__main__":
    # For this program alone, not for those that it starts.
    os.environ.pop("PYTHONPATH", None)
    main()
