"""Expands a SAM template from stdin into the CloudFormation that is deployed, as JSON on stdout, without a network.

Conditions stay as they are: nothing is known of the parameters yet.
"""

import json
import sys

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class NoManagedPolicies:
    """The template names none; asking AWS for their ARNs is what would need a network."""

    def load(self):
        return {}


template = yaml_parse(sys.stdin.read())
for resource in template["Resources"].values():
    if resource["Type"] == "AWS::Serverless::Function":
        # What `sam package` does with a local folder.
        resource["Properties"]["CodeUri"] = "s3://bucket/" + resource["Metadata"]["BuildProperties"]["Binary"]
json.dump(transform(template, {}, NoManagedPolicies()), sys.stdout)
