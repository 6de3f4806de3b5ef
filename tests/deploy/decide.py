"""What CloudFormation decides by a template's conditions, before it makes anything."""

from .expand import Template

NOTHING = object()


def decided(template: Template, parameters: dict[str, str]) -> Template:
    """The template without conditions: with what holds for these parameters, and nothing else."""
    values = {name: str(one.get("Default", "")) for name, one in template["Parameters"].items()} | parameters
    holds = Conditions(template.get("Conditions", {}), values)

    def kept(section: str) -> dict:
        parts = template.get(section, {}).items()
        there = {name: part for name, part in parts if "Condition" not in part or holds(part["Condition"])}
        return {name: {key: one for key, one in part.items() if key != "Condition"} for name, part in there.items()}

    chosen = template | {"Resources": kept("Resources"), "Outputs": kept("Outputs")}
    chosen.pop("Conditions", None)
    chosen.pop("Rules", None)
    return choose(chosen, holds)


class Conditions:
    """The conditions of a template, for certain parameters."""

    def __init__(self, conditions: dict, values: dict[str, str]) -> None:
        self.conditions, self.values = conditions, values

    def __call__(self, name: str) -> bool:
        return self.judge(self.conditions[name])

    def judge(self, condition: dict) -> bool:
        ((kind, of),) = condition.items()
        match kind:
            case "Condition":
                return self(of)
            case "Fn::Not":
                return not self.judge(of[0])
            case "Fn::And":
                return all(map(self.judge, of))
            case "Fn::Or":
                return any(map(self.judge, of))
            case "Fn::Equals":
                return self.text(of[0]) == self.text(of[1])
        raise NotImplementedError(kind)

    def text(self, value: object) -> str:
        match value:
            case {"Ref": name}:
                return self.values[name]
            # Of a list that a parameter is, which is text here as CloudFormation takes it.
            case {"Fn::Join": ["", of]}:
                return self.text(of).replace(",", "")
        return str(value)


def choose(value: object, holds: Conditions) -> object:
    """A value with each `Fn::If` decided."""
    if isinstance(value, list):
        return [one for one in (choose(one, holds) for one in value) if one is not NOTHING]
    if not isinstance(value, dict):
        return value
    if "Fn::If" in value:
        name, then, other = value["Fn::If"]
        return choose(then if holds(name) else other, holds)
    if value == {"Ref": "AWS::NoValue"}:
        return NOTHING
    chosen = {name: choose(one, holds) for name, one in value.items()}
    return {name: one for name, one in chosen.items() if one is not NOTHING}
