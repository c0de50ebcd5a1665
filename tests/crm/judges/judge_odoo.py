"""OdooRPC reads what is there, and writes as it does. Arguments: port, address."""

import json
import sys

import odoorpc

port, address = sys.argv[1:]
odoo = odoorpc.ODOO("127.0.0.1", port=int(port), version="17.0")
odoo.login("company", "proxyd", "an api key")
partners = odoo.execute_kw("res.partner", "search_read", [[("email_normalized", "=", address)]], {"fields": ["name"]})
notes = odoo.execute_kw("mail.message", "search_read", [[("res_id", "=", partners[0]["id"])]], {"fields": ["body"]})
made = odoo.execute_kw("res.partner", "create", [{"name": "Theirs", "email": "theirs@customer.test"}], {})
odoo.execute_kw("res.partner", "unlink", [[made]], {})
try:
    odoorpc.ODOO("127.0.0.1", port=int(port), version="17.0").login("company", "proxyd", "another key")
    refused = False
except odoorpc.error.RPCError:
    refused = True
print(json.dumps({"name": partners[0]["name"], "notes": [each["body"] for each in notes], "refused": refused}))
