"""Checks AWS CLI commands without AWS: one command a line on stdin, a complaint a line on stdout, in the order of the commands.

Operations, parameters and their types are compared with the service models that the CLI is made from. `$(output NAME)` must
name an output of the stack; those are this program's arguments. What stands in angle brackets is for the reader to fill in.
"""

import json
import pathlib
import re
import shlex
import sys

import jmespath
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

OUTPUTS = set(sys.argv[1:])
ROOT = pathlib.Path(__file__).resolve().parent.parent
LOADER = Loader()

# Of every command.
GLOBAL = {"--query", "--output", "--region", "--cli-binary-format", "--cli-read-timeout"}
# `aws logs tail` is in no model: https://docs.aws.amazon.com/cli/latest/reference/logs/tail.html
TAIL = {"--since", "--follow", "--format", "--filter-pattern", "--log-stream-names", "--log-stream-name-prefix"}


class Wrong(Exception):
    pass


def words_of(command):
    for name in re.findall(r"\$\(output (\w+)\)", command):
        if name not in OUTPUTS:
            raise Wrong(f"the stack has no output {name}")
    command = re.sub(r"\$\(output (\w+)\)", r"output-\1", command)
    command = re.sub(r"\$\(date [^)]*\)", "2026-11-24T00:00:00Z", command)
    words = shlex.split(command)
    return words[: words.index(">")] if ">" in words else words


def options_of(words):
    """Positional words, and the values of each option."""
    positional, options, current = [], {}, None
    for word in words:
        if word.startswith("--"):
            current = options.setdefault(word, [])
        elif current is None or (current and not takes_many(word)):
            positional.append(word)
            current = None
        else:
            current.append(word)
    return positional, options


def takes_many(word):
    return "=" in word


def value_of(shape, values):
    if shape.type_name == "boolean" and not values:
        return True
    if not values:
        raise Wrong(f"a value is missing, of type {shape.type_name}")
    text = values[0]
    if text.startswith("file://"):
        return None
    if shape.type_name in ("structure", "map", "list") and text[0] in "{[":
        return json.loads(text)
    if shape.type_name == "list":
        return [value_of(shape.member, [value]) for value in values]
    if shape.type_name == "structure":
        pairs = dict(pair.split("=", 1) for pair in text.split(","))
        unknown = set(pairs) - set(shape.members)
        if unknown:
            raise Wrong(f"{shape.name} has no {unknown}")
        return {name: value_of(shape.members[name], [value]) for name, value in pairs.items()}
    if shape.type_name in ("integer", "long"):
        return 1 if re.fullmatch(r"<[^>]+>", text) else int(text)
    if shape.type_name == "blob":
        return text.encode()
    if shape.type_name == "string" and re.fullmatch(r"<[^>]+>", text):
        return text.ljust(shape.metadata.get("min", 0), "-")
    if getattr(shape, "enum", None) and text not in shape.enum:
        raise Wrong(f"{text} is none of {shape.enum}")
    return text


def check_common(options):
    if "--query" in options:
        jmespath.compile(options["--query"][0])


def check_filter(pattern):
    """Whether what is looked for is ever logged, and the braces of a pattern for JSON are closed."""
    for phrase in re.findall(r'^"([^"]+)"$', pattern) + re.findall(r'"\*([^"]+)\*"', pattern):
        sources = [*ROOT.glob("shared/*/src/**/*.rs"), *ROOT.glob("functions/*/src/**/*.rs")]
        if not any(phrase in source.read_text() for source in sources):
            raise Wrong(f"nothing logs {phrase!r}")
    if not re.fullmatch(r'"[^"]+"|\{ .+ \}', pattern):
        raise Wrong(f"{pattern} is neither a phrase nor a pattern for JSON")


def check(command):
    words = words_of(command)
    if words[:3] == ["aws", "logs", "tail"]:
        positional, options = options_of(words[3:])
        if len(positional) != 1 or set(options) - TAIL:
            raise Wrong("aws logs tail takes a log group and " + ", ".join(sorted(TAIL)))
        check_filter(options["--filter-pattern"][0])
        return
    service, operation, rest = words[1], words[2], words[3:]
    model = ServiceModel(LOADER.load_service_model(service, "service-2"))
    if operation == "wait":
        waiters = LOADER.load_service_model(service, "waiters-2")["waiters"]
        names = {xform_name(name, "-"): waiter["operation"] for name, waiter in waiters.items()}
        operation, rest = names.get(words[3]), words[4:]
    else:
        operation = {xform_name(name, "-"): name for name in model.operation_names}.get(operation)
    if operation is None:
        raise Wrong(f"{service} has no {words[2]} {words[3]}")
    positional, options = options_of(rest)
    check_common(options)
    # It writes the function's answer to a file.
    if positional != (["/dev/stdout"] if operation == "Invoke" else []):
        raise Wrong(f"{positional} belongs to no option")
    shape = model.operation_model(operation).input_shape
    members = {"--" + xform_name(name, "-"): name for name in shape.members} if shape else {}
    parameters = {}
    for option, values in options.items():
        if option in members:
            parameters[members[option]] = value_of(shape.members[members[option]], values)
        elif option not in GLOBAL:
            raise Wrong(f"{operation} has no {option}")
    from_files = [name for name, value in parameters.items() if value is None]
    for name in from_files:
        parameters[name] = {}
    if shape:
        report = ParamValidator().validate(parameters, shape)
        if report.has_errors():
            raise Wrong(report.generate_report())


for line in sys.stdin.read().splitlines():
    try:
        check(line)
        print("")
    except Exception as wrong:
        print(f"{type(wrong).__name__}: {wrong}".replace("\n", " "))
