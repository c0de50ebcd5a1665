"""pypipedrive reads what is there into its models, and writes as it does. Arguments: URL, token, address."""

import json
import os
import sys
import types
from pathlib import Path

import pypipedrive
from pypipedrive import Api

url, token, address = sys.argv[1:]
os.environ["PIPEDRIVE_API_TOKEN"] = token
# Its package of models imports all of them, and some are not written for Python 3.11: what is used is taken by itself.
models = types.ModuleType("pypipedrive.models")
models.__path__ = [str(Path(pypipedrive.__file__).with_name("models"))]
sys.modules["pypipedrive.models"] = models

from pypipedrive.models.activities import Activities  # noqa: E402

Api.build_url = lambda self, uri: f"{url}/{self.version}/{uri}"  # it knows one host only

search = {"term": address, "fields": "email", "exact_match": "true"}
((person,),) = ([each["item"]["id"] for each in Api(token).get("persons/search", params=search).data["items"]],)
activities = Activities.all(params={"person_id": person, "sort_by": "add_time", "sort_direction": "desc"})
files = Api(token, version="v1").all(f"persons/{person}/files", params={"sort": "id DESC"}).data
who = Api(token).get(f"persons/{person}").data
made = Activities(subject="Theirs", type="call", done=True, participants=[{"person_id": person, "primary": True}])
made.save()
again = Activities.get(id=made.id)
again.delete()
writable = [name for name, field in Activities._field_name_descriptor_map().items() if not field.readonly]
print(
    json.dumps(
        {
            "person": [who["name"], [each["value"] for each in who["emails"]]],
            "activities": [[each.subject, each.type, each.done, str(each.due_date), each.note] for each in activities],
            "files": [[each["name"], each["activity_id"]] for each in files],
            "theirs": again.subject,
            "left": len(Activities.all(params={"person_id": person})),
            "writable": writable,
        }
    )
)
