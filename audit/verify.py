#!/usr/bin/env python3
"""Verifies an export or a .tlog-proof of Custodia's audit log, offline.

A second verifier, written from FORMAT.md and not from the Rust, so that what is said of a file does not rest on
one program. It needs Python 3.10 or later, tlog.py beside it, and the package `cryptography` (for Ed25519).

    verify.py --vkey KEY [--vkey WITNESS... --quorum N] [--earlier FILE] [--entries FILE] [--json] EXPORT
    verify.py --policy FILE [--policy FILE...] ... EXPORT [EXPORT...]    several: those of logs written side by side
    verify.py --vkey KEY ... proof PROOF ENTRY       ENTRY: hexadecimal, or a file that holds its bytes

Exit code: 0 verified, 1 refused, 2 a wrong call or a file that cannot be read.
"""
import base64, hashlib, json, re, sys
try:
    from tlog import NOTE_MAX, POLICY_MAX, PROOF_MAX, Refused, Trust, consistency_roots, decimal, fold, hash_list
    from tlog import need, read_edge, read_policy, read_vkey, sha, utf8, verify_proof
except ImportError as missing:
    print(f"verify.py: {missing}; it needs tlog.py beside it and the package `cryptography`", file=sys.stderr)
    sys.exit(2)

GROUP_MAX, FRAME_MAX = 1048576, 5243073
MAGIC = b"custodia/bundle/v1\n"

# Sections 1, 2, 4: CBOR by schema. `name:type` stands under the next key; `?` may be absent, `-` must be. Types are
# int, text, texts, items, words between bars, unsigned integers by their bits (u16), byte strings by their length.
KINDS = "access|write|refusal|login|mfa|logout|token|break-glass|export|erasure|audit|policy|role|key|config|edge"
HEADER = "version:u64 origin:text tenant:text? first:u64 end:u64 exported_micros:int reason:text"
ITEM = "kind:text id:text version:u32 digest:32 action:released|written|deleted"
GROUPS = {
    "event": f"origin:text kind:{KINDS} time_micros:int node:text sequence:u64 request:16 status:u16 code:text",
    "actor": "user:text? roles:texts organisation:text? client:text? token_id:text? thumbprint:32? address:text?",
    "subject": "tenant:text? patient:text?",
    "object": "interaction:text items:items policy_set:32? policies:texts decision:permit|refuse|not-evaluated",
    "detail": "purpose:text? query:text? reason:text?",
}
CONTROL = {
    "start": "node:text time_micros:int version:text", "heartbeat": "node:text time_micros:int sequence:u64",
    "key-rotation": "- time_micros:int old_vkey:text new_vkey:text",
    "key-retirement": "- time_micros:int vkey:text",
    "policy-change": "node:text time_micros:int policy_set:32",
    "restore": "node:text time_micros:int restored_size:u64 anchored_size:u64 anchored_root:32",
    "export": "node:text time_micros:int first:u64 end:u64 size:u64",
    "fork-alarm": "node:text time_micros:int witness:text size:u64",
    "shards": "node:text time_micros:int shard:u64 count:u64",
    "shard-link": "- time_micros:int origin:text size:u64 root:32",
}
FOUND = {"restore": "restored", "key-rotation": "key-rotated", "key-retirement": "key-retired",
         "fork-alarm": "fork-alarm"}

def cbor(raw):
    """Deterministic CBOR: the one item that `raw` is, as int, bytes, str, list or dict."""
    def item(at, depth):
        need(at < len(raw) and depth < 5)
        major, value, at = raw[at] >> 5, raw[at] & 31, at + 1
        if value > 23:
            low, end = value - 24, at + (1 << value % 8)
            need(low < 4 and end <= len(raw))
            value, at = int.from_bytes(raw[at:end], "big"), end
            need(value >= (24, 1 << 8, 1 << 16, 1 << 32)[low])
        if major < 2:
            return (-1 - value if major else value), at
        need(major < 6 and value <= len(raw) - at)
        if major < 4:
            body = raw[at:at + value]
            return (body if major == 2 else utf8(body)), at + value
        out, last = ([] if major == 4 else {}), -1
        for _ in range(value):
            one, at = item(at, depth + 1)
            if major == 4:
                out.append(one)
            else:
                need(type(one) is int and one > last)
                last = one
                out[last], at = item(at, depth + 1)
        return out, at
    whole, at = item(0, 0)
    need(at == len(raw))
    return whole

def typed(value, kind):
    if kind in ("texts", "items"):
        need(type(value) is list)
        return [typed(one, kind[:-1]) for one in value]
    if kind == "item":
        need(type(value) is list)
        return fields(dict(enumerate(value)), ITEM)
    if kind.isdigit():
        need(type(value) is bytes and len(value) == int(kind))
        return value.hex()
    if kind in ("int", "u16", "u32", "u64"):
        least, most = (-1 << 63, 1 << 63) if kind == "int" else (0, 1 << int(kind[1:]))
        need(type(value) is int and least <= value < most)
    else:
        need(type(value) is str and (kind == "text" or value in kind.split("|")))
    return value

def fields(item, schema, first=0):
    """The fields of a map by name, None if absent; there may be no others."""
    need(type(item) is dict)
    item, out = dict(item), {}
    for key, field in enumerate(schema.split(), first):
        name, _, kind = field.rstrip("?").partition(":")
        need(key in item if field[-1] not in "?-" else kind or key not in item)
        if kind:
            out[name] = typed(item.pop(key), kind) if key in item else None
    need(not item)
    return out

def read_leaf(raw):
    """A log entry: the commitment in hexadecimal, or the control entry as a dict."""
    need(raw[:1] in (b"\0", b"\1") and len(raw) <= 4096)
    if raw[0] == 1:
        need(len(raw) == 33)
        return raw[1:].hex()
    control = cbor(raw[1:])
    need(type(control) is dict and type(control.get(0)) is str and control[0] in CONTROL)
    word = control.pop(0)
    return {"control": word, **fields(control, CONTROL[word], 1)}

# Sections 7 and 8: an export.
class Export:
    def __init__(self, file, trust, earlier, sink):
        self.file, self.trust, self.earlier, self.sink = file, trust, earlier, sink
        self.place, self.hash, self.tiles, self.nodes = "beginning of the file", hashlib.sha256(), {}, {}
        self.findings, self.total, self.hidden, self.shards = [], 0, 0, None
        self.counts = {"opened": 0, "withheld": 0, "control": 0}

    def take(self, count):
        raw = self.file.read(count)
        need(len(raw) == count, "truncated")
        return raw

    def frame(self, *wanted):
        head = self.take(5)
        need(int.from_bytes(head[1:], "big") <= FRAME_MAX, "too-long")
        payload = self.take(int.from_bytes(head[1:], "big"))
        if head[0] != 9:
            self.hash.update(head + payload)
        need(not wanted or head[0] in wanted, "unexpected")
        return head[0], payload

    def run(self):
        magic = self.take(len(MAGIC))
        need(magic == MAGIC, "magic")
        self.hash.update(magic)
        self.place = "header"
        self.header = fields(cbor(self.frame(1)[1]), HEADER)
        need(self.header.pop("version") == 1)
        need(self.header["origin"] == self.trust.origin, "origin")
        self.place = "checkpoint"
        self.size, self.root, cosigned = self.trust.open_checkpoint(self.frame(2)[1])
        first, end = self.header["first"], self.header["end"]
        need(first <= end <= self.size, "range", "header")
        self.place = "edge of the tree"
        self.read_edge()
        for index in range(first, end):
            self.place = f"index {index}"
            self.step(index, end)
        self.place = "manifest"
        text, _ = self.trust.open_note(self.step(end, end))
        lines = [self.trust.origin, f"range {first} {end}", f"size {self.size}"]
        lines += [f"{name} {count}" for name, count in self.counts.items()]
        lines += ["sha256 " + base64.b64encode(self.hash.digest()).decode(), ""]
        need(text == MAGIC.decode() + "\n".join(lines), "manifest")
        need(not self.file.read(1), "trailing")
        return {"header": self.header, "size": self.size, "root": base64.b64encode(self.root).decode(),
                "cosigned": cosigned, "is_whole": (first, end) == (0, self.size),
                "continues": self.earlier and self.earlier[0], "counts": self.counts,
                "sha256": self.hash.hexdigest(), "shards": self.shards,
                "findings": self.findings, "findings_total": self.total}

    def read_edge(self):
        (kind, payload), proof = self.frame(), (None, [])
        if kind == 3:
            need(len(payload) % 32 == 8, "form", "consistency proof")
            proof = int.from_bytes(payload[:8], "big"), hash_list(payload[8:])
            kind, payload = self.frame()
        if self.earlier:
            (size, root, _), self.place = self.earlier, "consistency proof"
            roots = (sha(b"") if size == 0 else self.root), self.root
            need(size <= self.size, "shrunk")
            if 0 < size < self.size:
                need(proof[0] == size, "no-proof")
                roots = consistency_roots(size, self.size, proof[1], root)
                need(not proof[1], "proof-length")
            need(roots == (root, self.root), "root")
            self.place = "edge of the tree"
        need(kind == 4, "unexpected")
        self.edge, root = read_edge(self.size, hash_list(payload))
        need(root == self.root, "root")

    def is_full(self, level, number):
        return (number + 1) << 8 * (level + 1) <= self.size

    def known(self, level, number):
        """Hash `number` of a level, from its full tile or the edge; None if that tile is not here."""
        hashes = self.edge[level] if level < len(self.edge) else []
        if self.is_full(level, number // 256):
            hashes = self.tiles.get((level, number // 256), [])
        return hashes[number % 256] if number % 256 < len(hashes) else None

    def step(self, index, end):
        """All frames up to and including the entry at `index`; at the end, the manifest's payload."""
        while True:
            kind, payload = self.frame()
            if kind == 9:
                need(index == end, "missing")
                return payload
            need(kind in (6, 7, 8) or kind == 5 and index < end, "unexpected")
            need(len(payload) >= 8 + (kind == 5))
            if kind != 5:
                need(int.from_bytes(payload[:8], "big") == index < end, "order")
                return self.entry(index, kind, payload[8:])
            hashes = hash_list(payload[9:])
            wanted = [(level, index >> 8 * (level + 1)) for level in range(len(self.edge))]
            wanted = [at for at in wanted if self.is_full(*at) and at not in self.tiles]
            at = payload[0], int.from_bytes(payload[1:9], "big")
            need([at] == wanted[-1:], "unexpected")
            need(len(hashes) == 256 and fold(hashes) == self.known(at[0] + 1, at[1]), "tile")
            self.tiles = {had: tile for had, tile in self.tiles.items() if had[0] != at[0]} | {at: hashes}

    def entry(self, index, kind, body):
        leaf, shown = body if kind == 8 else b"\1" + body, []
        if kind == 6:
            digests, rest = [], body
            while len(shown) < 5:
                need(len(rest) >= 33 and rest[0] in (0, 1))
                tag, digest, rest, group = rest[0], rest[1:33], rest[33:], None
                if tag:
                    length = 4 + int.from_bytes(rest[:4], "big")
                    need(4 <= len(rest) and length <= len(rest))
                    group, rest = rest[4:length], rest[length:]
                    digest = sha(b"custodia/v1/group", bytes([len(shown)]), digest, group)
                shown.append(group)
                digests.append(digest)
            need(not rest)
            leaf = b"\1" + sha(b"custodia/v1/entry", *digests)
        need(kind != 7 or len(body) == 32)
        control = read_leaf(body) if kind == 8 else {}
        need(type(control) is dict)
        need(sha(b"\0", leaf) == self.known(0, index), "not-in-log")
        word = "control" if control else "opened" if any(group is not None for group in shown) else "withheld"
        self.counts[word] += 1
        if control:
            self.control(index, control)
        self.sink({"index": index, **({"control": control} if control else
                                      {"withheld": body.hex()} if kind == 7 else self.opened(index, shown))})
        self.hidden += kind == 7

    def opened(self, index, groups):
        need(all(raw is None or len(raw) <= GROUP_MAX for raw in groups))
        shown = {name: None if raw is None else fields(cbor(raw), GROUPS[name]) for name, raw in zip(GROUPS, groups)}
        if event := shown["event"]:
            event["outcome"] = {"status": event.pop("status"), "code": event.pop("code")}
            if event["origin"] != self.trust.origin:
                self.find(index, "other-origin")
            self.event(index, event)
        self.hidden += event is None
        tenants = {self.header["tenant"], shown["subject"] and shown["subject"]["tenant"]}
        if None not in tenants and len(tenants) == 2:
            self.find(index, "other-tenant")
        return {"opened": shown}

    def find(self, index, finding, **more):
        self.total += 1
        if len(self.findings) < 1000:
            self.findings.append({"index": index, "finding": finding, **more})

    def node(self, index, name, time):
        """What is known of a node: its next number, hidden when that was learnt and at its last start, its time."""
        need(name in self.nodes or len(self.nodes) < 65536, "nodes")
        node = self.nodes.setdefault(name, {"next": None, "hidden": 0, "start": None, "time": time})
        if time < node["time"]:
            self.find(index, "clock-backwards", node=name, by_micros=node["time"] - time)
        node["time"] = time
        return node

    def is_right(self, node, number):
        is_restart = node["start"] is not None and number <= self.hidden - node["start"]
        return is_restart or 0 <= number - node["next"] <= self.hidden - node["hidden"]

    def event(self, index, event):
        node, number = self.node(index, event["node"], event["time_micros"]), event["sequence"]
        need(node["next"] is None or self.is_right(node, number), "sequence")
        if node["next"] is None and self.header["first"] == 0 and number > self.hidden:
            self.find(index, "late-start", node=event["node"], sequence=number)
        node.update(next=min(number + 1, (1 << 64) - 1), hidden=self.hidden, start=None)

    def control(self, index, control):
        word = control["control"]
        node = self.node(index, control["node"], control["time_micros"]) if "node" in control else {}
        if word == "start":
            node["start"] = self.hidden
        elif word == "shards" and (self.shards is None or self.shards[1] < control["count"]):
            self.shards = [control["shard"], control["count"]]
        elif word == "heartbeat" and node["next"] is not None and not self.is_right(node, control["sequence"]):
            self.find(index, word, node=control["node"], expected=node["next"], found=control["sequence"])
        elif word in FOUND:
            self.find(index, FOUND[word])

# Section 9: the command.
def read(path, most):
    with open(path, "rb") as file:
        return file.read(most + 1)

def check(holds, what):
    if not holds:
        raise ValueError(what)

def arguments(argv):
    given, files, words = {name: [] for name in "vkey quorum policy origin earlier entries".split()}, [], list(argv)
    while words:
        word = words.pop(0)
        if word.startswith("--") and word[2:] in given:
            check(words, f"{word} wants a value")
            given[word[2:]].append(words.pop(0))
        elif word != "--json":
            check(not word.startswith("--"), f"unknown option {word}")
            files.append(word)
    check(all(len(given[name]) < 2 for name in ("quorum", "origin", "entries")), "an option is given twice")
    check(len(files) == 3 if files[:1] == ["proof"] else files, "EXPORT, or proof PROOF ENTRY, is wanted")
    check(files[0] != "proof" or not given["earlier"], "--earlier is for exports")
    check(len(files) == 1 or not given["entries"], "--entries is for one export")
    if given["policy"]:
        check(not given["vkey"] + given["quorum"], "--policy stands in place of --vkey and --quorum")
        believed = [read_policy(read(path, POLICY_MAX)) for path in given["policy"]]
    else:
        keys, quorum = [read_vkey(text) for text in given["vkey"]], decimal((given["quorum"] or ["0"])[0])
        check(any(key[2] == 1 for key in keys), "--vkey with a key of the log (type 01), or --policy, is wanted")
        check(quorum is not None and quorum <= sum(key[2] == 4 for key in keys), "--quorum wants as many witness keys")
        believed = [(keys, lambda signed: len(signed) >= quorum)]
    trusts = {}
    for keys, met in believed:
        for origin in given["origin"] or [key[0] for key in keys if key[2] == 1]:
            trusts.setdefault(origin, Trust(keys, met, origin))
    check(trusts, "the policy names no log: --origin is wanted")
    return given, files, list(trusts.values())[:1 if len(files) == 1 else None]

def verdict_on(path, trusts, earlier, sink):
    """Of an export of one of these logs, which is not among them afterwards."""
    check(trusts, "there are more exports than logs that keys are given of")
    for trust in list(trusts):
        export = Export(open(path, "rb"), trust, earlier.get(trust.origin), sink)
        try:
            verdict = {"verified": True, "report": export.run()}
        except Refused as refused:
            place = refused.place or export.place
            verdict = {"verified": False, "code": refused.code, "reason": refused.code, "place": place,
                       "index": int(place[6:]) if place.startswith("index ") else None}
        if (verdict.get("code"), verdict.get("place")) != ("origin", "header"):
            trusts.remove(trust)
            break
    return verdict

def together(verdicts):
    """Of several exports: each is verified, and none is missing of logs that are written side by side."""
    reports, wanted = [verdict["report"] for verdict in verdicts if verdict["verified"]], {}
    for report in reports:
        origin, (shard, count) = report["header"]["origin"], report["shards"] or (0, 0)
        first = origin.removesuffix(f"/{shard}") if shard else origin
        wanted |= {f"{first}/{number}" if number else first: 1 for number in range(min(count, 256))}
    missing = [name for name in wanted if name not in [report["header"]["origin"] for report in reports]]
    return {"verified": len(reports) == len(verdicts) and not missing, "exports": verdicts, "missing": missing}

def main(argv):
    given, files, trusts = arguments(argv)
    earlier, out = {}, open(given["entries"][0], "w", encoding="utf-8") if given["entries"] else None
    for path in given["earlier"]:
        note = read(path, NOTE_MAX)
        trust = [trust for trust in trusts if trust.origin.encode() == note.split(b"\n")[0]]
        check(trust and trust[0].origin not in earlier, "--earlier: not the one checkpoint of a log asked about")
        earlier[trust[0].origin] = trust[0].open_checkpoint(note, quorum=False)
    def sink(entry):
        return out and print(json.dumps(entry, ensure_ascii=False, separators=(",", ":")), file=out)
    try:
        if files[0] == "proof":
            is_hex = re.fullmatch("0[01]([0-9a-fA-F]{2})*", files[2])
            entry = bytes.fromhex(files[2]) if is_hex else read(files[2], 4096)
            proof = verify_proof(read(files[1], PROOF_MAX), entry, trusts[0])
            verdict = {"verified": True, **proof, "entry": read_leaf(entry)}
        else:
            verdicts = [verdict_on(path, trusts, earlier, sink) for path in files]
            verdict = together(verdicts) if len(files) > 1 else verdicts[0]
    except Refused as refused:
        verdict = {"verified": False, "code": refused.code, "reason": refused.code}
    out and out.close()
    text = json.dumps(verdict, ensure_ascii=False, indent=None if "--json" in argv else 2)
    print(text if "--json" in argv else ("VERIFIED" if verdict["verified"] else "REFUSED") + " " + text)
    return 0 if verdict["verified"] else 1

def command(argv):
    try:
        return print(__doc__) or 0 if {"-h", "--help"} & set(argv) else main(argv)
    except (OSError, ValueError, Refused) as error:
        print(f"verify.py: {getattr(error, 'code', error)}\n{__doc__}", file=sys.stderr)
        return 2

if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
