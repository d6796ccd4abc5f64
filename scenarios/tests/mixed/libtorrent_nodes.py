"""Nodes of libtorrent, for a network of several kinds: told what to do by lines of JSON, one answer a line."""

import hashlib
import json
import random
import sys
import time

import libtorrent as lt

# How long an answer may take. The test asks again when there is none.
PATIENCE = 20

SETTINGS = {
    "enable_dht": True,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # Nobody is asked who was not named: what is named here becomes a router, which is in no table.
    "dht_bootstrap_nodes": "",
    # All nodes are on this machine, which libtorrent takes for an attack.
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_enforce_node_id": False,
    "dht_prefer_verified_node_ids": False,
    "dht_ignore_dark_internet": False,
    "dht_block_ratelimit": 1_000_000,
    "dht_upload_rate_limit": 10_000_000,
    "alert_mask": int(lt.alert.category_t.all_categories),
}


def expanded(seed):
    """The form in which libtorrent takes secret keys: the hash of the seed, clamped (RFC 8032, section 5.1.5)."""
    key = bytearray(hashlib.sha512(seed).digest())
    key[0] &= 248
    key[31] &= 63
    key[31] |= 64
    return bytes(key)


def wait_all(session, kind, matches):
    """The next alerts, one at least, or none after a time."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        session.wait_for_alert(100)
        found = [alert for alert in session.pop_alerts() if isinstance(alert, kind) and matches(alert)]
        if found:
            return found
    return []


def wait(session, kind, matches):
    return next(iter(wait_all(session, kind, matches)), None)


def listens(session):
    """How many sockets it has, of which each is a node of the DHT (BEP 45)."""
    return len(session.get_settings()["listen_interfaces"].split(","))


def resident():
    """Bytes of memory that are this process's own, code and other files not counted."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


class Network:
    def __init__(self):
        self.sessions = []
        self.others = []
        self.resident = resident()

    def start(self, addresses):
        for address in addresses:
            self.sessions.append(lt.session({**SETTINGS, "listen_interfaces": address}))
        ports = []
        for session in self.sessions:
            end = time.monotonic() + PATIENCE
            while session.listen_port() == 0 and time.monotonic() < end:
                time.sleep(0.02)
            ports.append(session.listen_port())
        return {"ports": ports}

    def begin_anew(self):
        """Those that are there go on, and are none of this network any more."""
        self.others.append(self.sessions)
        self.sessions = []
        self.resident = resident()
        return {}

    def join(self, host, port):
        for session in self.sessions:
            session.add_dht_node((host, port))
        return {}

    def known(self):
        counts = []
        for session in self.sessions:
            session.post_dht_stats()
            tables = []
            while len(tables) < listens(session):
                stats = wait_all(session, lt.dht_stats_alert, lambda alert: True)
                if not stats:
                    break
                tables += [sum(bucket["num_nodes"] for bucket in alert.routing_table) for alert in stats]
            counts.append(min(tables, default=0))
        return {"counts": counts}

    def put(self, node, text):
        session = self.sessions[node]
        target = session.dht_put_immutable_item(text.encode())
        done = wait(session, lt.dht_put_alert, lambda alert: alert.target == target)
        return {"target": str(target), "stored": done.num_success if done else 0}

    def put_signed(self, node, seed, key, salt, text, sequence):
        # It looks for the item that is there, and takes the number after that one's.
        session = self.sessions[node]
        secret, public, salt = expanded(bytes.fromhex(seed)), bytes.fromhex(key), salt.encode()
        session.dht_put_mutable_item(secret, public, text.encode(), salt)
        done = wait(session, lt.dht_put_alert, lambda alert: alert.public_key == public)
        return {"stored": done.num_success if done else 0}

    def get(self, node, target):
        session = self.sessions[node]
        target = lt.sha1_hash(bytes.fromhex(target))
        session.dht_get_immutable_item(target)
        found = wait(session, lt.dht_immutable_item_alert, lambda alert: alert.target == target)
        return {"text": text_of(found.item) if found else None}

    def get_signed(self, node, key, salt):
        session = self.sessions[node]
        session.dht_get_mutable_item(bytes.fromhex(key), salt.encode())
        public = bytes.fromhex(key)
        found = wait(
            session,
            lt.dht_mutable_item_alert,
            lambda alert: alert.key == public and alert.authoritative,
        )
        if found is None or found.item is None:
            return {"text": None}
        return {"text": text_of(found.item), "sequence": found.seq}

    def announce(self, node, info_hash, port):
        self.sessions[node].dht_announce(lt.sha1_hash(bytes.fromhex(info_hash)), port, 0)
        return {}

    def peers(self, node, info_hash):
        session = self.sessions[node]
        info_hash = lt.sha1_hash(bytes.fromhex(info_hash))
        session.dht_get_peers(info_hash)
        peers, families = set(), set()
        # Each of its nodes tells for itself.
        while len(families) < listens(session):
            found = wait_all(session, lt.dht_get_peers_reply_alert, lambda alert: alert.info_hash == info_hash)
            if not found:
                break
            for host, port in (peer for alert in found for peer in alert.peers()):
                families.add(":" in host)
                peers.add(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        return {"peers": sorted(peers)}

    def look_up(self, count, callers):
        """Looks for items that nobody has: so many, of which so many at a time, from one session after another."""
        for session in self.sessions:
            # Alerts cost time, and no others are of interest.
            session.apply_settings({"alert_mask": int(lt.alert.category_t.dht_notification)})
            session.pop_alerts()
        under_way, took, begun = {}, [], 0
        cpu, wall = time.process_time(), time.monotonic()
        while len(took) < count:
            while begun < count and len(under_way) < callers:
                target = random.randbytes(20)
                under_way[target] = (begun % len(self.sessions), time.monotonic())
                self.sessions[begun % len(self.sessions)].dht_get_immutable_item(lt.sha1_hash(target))
                begun += 1
            for node in {node for node, _ in under_way.values()}:
                for alert in self.sessions[node].pop_alerts():
                    if isinstance(alert, lt.dht_immutable_item_alert):
                        _, began = under_way.pop(alert.target.to_bytes(), (None, None))
                        if began is not None:
                            took.append((time.monotonic() - began) * 1e3)
            time.sleep(0.0002)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        took.sort()
        return {
            "lookups": count,
            "cpu_seconds": cpu,
            "seconds": wall,
            "median_ms": took[len(took) // 2],
            "p95_ms": took[len(took) * 95 // 100],
            "bytes_per_node": (resident() - self.resident) / len(self.sessions),
        }


def text_of(item):
    if isinstance(item, dict):
        item = item.get("v")
    return item.decode() if isinstance(item, bytes) else None


def main():
    network = Network()
    for line in sys.stdin:
        order = json.loads(line)
        name = order.pop("do")
        print(json.dumps(getattr(network, name)(**order)), flush=True)


main()
