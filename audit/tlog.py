"""What every log of c2sp.org has: RFC 6962 trees, signed notes, checkpoints, cosignatures, policies, .tlog-proof files.

One half of verify.py: sections 5 and 6 of FORMAT.md. Nothing here knows what Custodia's entries mean.
"""
import base64, hashlib, re, unicodedata

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

NOTE_MAX, PROOF_MAX, POLICY_MAX = 131072, 196608, 262144

class Refused(Exception):
    """The file is refused: a code of FORMAT.md section 9, and the place if it is not the current one."""
    def __init__(self, code, place=None):
        self.code, self.place = code, place

def need(holds, code="form", place=None):
    if not holds:
        raise Refused(code, place)

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def unbase64(text, length=None):
    """Strict base64, else None: what it decodes to must be spelt exactly so."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        return None
    return raw if base64.b64encode(raw).decode() == text and length in (None, len(raw)) else None

def decimal(text):
    number = int(text) if re.fullmatch("0|[1-9][0-9]{0,18}", text) else 1 << 63
    return number if number < 1 << 63 else None

def utf8(raw):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("form")

# Section 5: the tree.
def split(size):
    return 1 << (size - 1).bit_length() - 1

def fold(hashes):
    if len(hashes) == 1:
        return hashes[0]
    middle = split(len(hashes))
    return sha(b"\1", fold(hashes[:middle]), fold(hashes[middle:]))

def hash_list(raw):
    need(len(raw) % 32 == 0)
    return [raw[at:at + 32] for at in range(0, len(raw), 32)]

def read_edge(size, hashes):
    """The levels of the edge of a tree of this size, and its root."""
    levels, ragged = [], []
    while size > 0:
        level, hashes = hashes[:size % 256], hashes[size % 256:]
        need(len(level) == size % 256)
        levels.append(level)
        ragged = [fold(level + ragged)] if level + ragged else []
        size //= 256
    need(not hashes)
    return levels, ragged[0] if ragged else sha(b"")

def inclusion_root(leaf, index, size, proof):
    """The root that PATH(index, D[size]) of RFC 6962 §2.1.1 leads to; takes its hashes off the end of `proof`."""
    if size == 1:
        return leaf
    need(proof, "proof-length")
    last, middle = proof.pop(), split(size)
    if index < middle:
        return sha(b"\1", inclusion_root(leaf, index, middle, proof), last)
    return sha(b"\1", last, inclusion_root(leaf, index - middle, size - middle, proof))

def consistency_roots(first, size, proof, known):
    """Both roots that SUBPROOF(first, D[size], b) of RFC 6962 §2.1.2 leads to; `known` is MTH if b, else None."""
    if first == size and known:
        return known, known
    need(proof, "proof-length")
    last = proof.pop()
    if first == size:
        return last, last
    middle = split(size)
    if first <= middle:
        old, new = consistency_roots(first, middle, proof, known)
        return old, sha(b"\1", new, last)
    old, new = consistency_roots(first - middle, size - middle, proof, None)
    return sha(b"\1", last, old), sha(b"\1", last, new)

# Section 6: keys, policies, notes, checkpoints.
def is_key_name(name):
    return bool(name) and not any(c.isspace() or unicodedata.category(c) == "Cc" or c == "+" for c in name)

def read_vkey(text):
    """(name, key id, type, public key)."""
    name, key_id, raw = (text.split("+", 2) + ["", ""])[:3]
    raw = unbase64(raw, 33)
    if not raw or raw[0] not in (1, 4) or not is_key_name(name) or sha(name.encode(), b"\n", raw)[:4].hex() != key_id:
        raise ValueError("not a verifier key")
    return name, bytes.fromhex(key_id), raw[0], raw[1:]

def read_policy(raw):
    """The keys of a policy file, and whether a set of public keys is its quorum."""
    keys, counts, nodes, members, quorum = [], {}, {b"none": None}, {b"none"}, []
    def check(holds):
        if not holds:
            raise ValueError("not a policy")
    def key(word, kind):
        keys.append(read_vkey(utf8(word)))
        check(keys[-1][2] == kind and keys[-1][2:] not in [had[2:] for had in keys[:-1]])
        return keys[-1][3]
    def define(name, node):
        check(name not in nodes)
        nodes[name] = node
    check(len(raw) <= POLICY_MAX and not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", raw))
    for line in raw.split(b"\n"):
        words = [word for word in re.split(rb"[ \t]+", line) if word]
        match words if words and not words[0].startswith(b"#") else []:
            case []:
                continue
            case [b"log", vkey, *url] if len(url) < 2:
                key(vkey, 1)
            case [b"witness", name, vkey, *url] if len(url) < 2:
                define(name, key(vkey, 4))
            case [b"group", name, count, first, *more]:
                names = [first, *more]
                count = {b"all": len(names), b"any": 1}.get(count) or decimal(count.decode("latin-1")) or 0
                check(1 <= count <= len(names) == len(set(names)))
                check(all(one in nodes and one not in members for one in names))
                members.update(names)
                define(name, (count, [nodes[one] for one in names]))
            case [b"quorum", name]:
                check(name in nodes and not quorum)
                quorum.append(nodes[name])
            case _:
                check(False)
        counts[words[0]] = counts.get(words[0], 0) + 1
    check(quorum and max(counts.values()) <= 256)
    def met(node, signed):
        if isinstance(node, tuple):
            return sum(met(member, signed) for member in node[1]) >= node[0]
        return node is None or node in signed
    return keys, lambda signed: met(quorum[0], signed)

class Trust:
    """The keys and the quorum to believe, and the origin of the log that is asked about."""
    def __init__(self, keys, met, origin):
        self.met, self.origin = met, origin
        self.known = {key[:2]: key[2:] for key in reversed(keys) if key[2] == 4 or key[0] == origin}

    def open_note(self, raw, read=lambda text: text):
        """What `read` makes of a note's text, and its cosignatures (name, time, public key); a log key signed it."""
        need(len(raw) <= NOTE_MAX)
        note = utf8(raw)
        text, blank, lines = note.rpartition("\n\n")
        need(blank and lines.endswith("\n") and not re.search(r"[\x00-\x09\x0b-\x1f]", note))
        text, signatures, by_log, cosigned = text + "\n", [], False, []
        for line in lines[:-1].split("\n"):
            dash, name, signature = (line.split(" ") + ["", ""])[:3]
            signature = unbase64(signature) or b""
            need(dash == "\u2014" and line.count(" ") == 2 and is_key_name(name) and len(signature) > 4)
            signatures.append(((name, signature[:4]), signature[4:]))
        need(len(signatures) <= 64)
        checked = read(text)
        for who, signature in signatures:
            kind, public = self.known.get(who, (0, b""))
            message = text.encode()
            if kind == 4:
                time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
                need(time < 1 << 63, "signature")
                message = b"cosignature/v1\ntime %d\n" % time + message
                cosigned.append((who[0], time, public))
            try:
                if kind:
                    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
            except (InvalidSignature, ValueError):
                raise Refused("signature")
            by_log = by_log or kind == 1
        need(by_log, "unsigned")
        return checked, cosigned

    def open_checkpoint(self, raw, quorum=True):
        """Size, root and who cosigned."""
        def read(text):
            lines = text.split("\n")
            need(len(lines) == 4 and lines[0] and decimal(lines[1]) is not None and unbase64(lines[2], 32))
            need(lines[0] == self.origin, "origin")
            return decimal(lines[1]), unbase64(lines[2])
        (size, root), cosigned = self.open_note(raw, read)
        need(not quorum or self.met({public for _, _, public in cosigned}), "quorum")
        return size, root, [{"witness": name, "time": time} for name, time, _ in cosigned]

def verify_proof(raw, entry, trust):
    """The index and what is said of the checkpoint of a .tlog-proof of the log entry `entry`."""
    need(len(raw) <= PROOF_MAX)
    head, blank, checkpoint = utf8(raw).partition("\n\n")
    lines = head.split("\n")
    need(blank and lines.pop(0) == "c2sp.org/tlog-proof@v1")
    if lines and lines[0].startswith("extra "):
        need(unbase64(lines.pop(0)[6:]) is not None)
    need(lines and lines[0].startswith("index ") and decimal(lines[0][6:]) is not None)
    index, hashes = decimal(lines[0][6:]), [unbase64(line, 32) for line in lines[1:]]
    need(len(hashes) <= 126 and None not in hashes)
    size, root, cosigned = trust.open_checkpoint(checkpoint.encode())
    need(index < size, "range")
    found = inclusion_root(sha(b"\0", entry), index, size, hashes)
    need(not hashes, "proof-length")
    need(found == root, "root")
    return {"origin": trust.origin, "size": size, "cosigned": cosigned, "index": index}
