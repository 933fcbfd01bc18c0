"""Print the English questions of a group as a dataset: python -m tests.questions fresh > fresh.jsonl"""

import json
import sys

from tests.questions import FILE, GROUPS, load_questions

asked = {one.asked.text for one in load_questions() if one.is_english and one.split in GROUPS[sys.argv[1]]}
lines = FILE.read_text("utf-8").splitlines(keepends=True)
sys.stdout.writelines(line for line in lines if json.loads(line)["question"] in asked)
