"""What sources/tap.py and messages.py take for granted of aiortc, aioice and pylibsrtp, whose names are private.

When one of these fails after an upgrade, those files must be looked at before anything else is believed.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path

import aiortc
import pylibsrtp
from aioice import Candidate, Connection, ice, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import RTCDtlsTransport, RTCSctpTransport, rtcdtlstransport, rtcsctptransport

from tapedeck.sources import messages, tap

SOURCES = Path(tap.__file__).parent


def test_versions_are_those_it_was_written_for() -> None:
    assert aiortc.__version__ == "1.16.0"


def names_of(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_methods_that_are_overridden_have_the_same_parameters() -> None:
    for ours, theirs in (
        (tap._Socket.datagram_received, ice.StunProtocol.datagram_received),
        (tap._Socket.request, ice.StunProtocol.request),
        (tap.IceConnection.get_component_candidates, Connection.get_component_candidates),
        (tap.IceConnection.check_incoming, Connection.check_incoming),
        (tap.DtlsTransport._recv_next, RTCDtlsTransport._recv_next),
        (tap.DtlsTransport._setup_srtp, RTCDtlsTransport._setup_srtp),
        (tap.DtlsTransport.stop, RTCDtlsTransport.stop),
        (messages.Messages._send_chunk, RTCSctpTransport._send_chunk),
        (messages.Messages._handle_data, RTCSctpTransport._handle_data),
        (messages.Messages._data_channel_receive, RTCSctpTransport._data_channel_receive),
    ):
        assert names_of(ours) == names_of(theirs)


def test_functions_that_are_called_have_the_parameters_we_give() -> None:
    assert {"receiver"} <= set(names_of(ice.StunProtocol.__init__))
    assert {"ice_controlling", "local_username", "local_password"} <= set(names_of(Connection.__init__))
    assert names_of(ice.server_reflexive_candidate) == ["protocol", "stun_server"]
    assert set(names_of(ice.relayed_candidate)) == {
        "component",
        "hide_related_address",
        "protocol_factory",
        "turn_server",
        "turn_username",
        "turn_password",
        "turn_ssl",
        "turn_transport",
    }
    assert names_of(ice.get_host_addresses) == ["use_ipv4", "use_ipv6"]
    assert names_of(candidate_foundation) == ["candidate_type", "candidate_transport", "base_address"]
    assert names_of(candidate_priority)[:2] == ["candidate_component", "candidate_type"]
    assert 0 < stun.RETRY_RTO < 5
    assert {"sha-256", "sha-384", "sha-512"} == set(rtcdtlstransport.X509_DIGEST_ALGORITHMS)


async def test_connection_has_the_attributes_we_read() -> None:
    connection = Connection(ice_controlling=False)
    assert connection._protocols == []
    assert connection._nominated == {}
    assert connection._remote_candidates == []
    assert connection._remote_candidates_end is False
    assert connection.remote_is_lite is False
    assert connection._closing is False
    assert connection._query_consent_task is None
    await connection.add_remote_candidate(Candidate.from_sdp("1 1 udp 1 192.0.2.1 9 typ host"))
    assert (connection._remote_candidates[0]._network_host, connection._remote_candidates[0].port) == ("192.0.2.1", 9)
    await connection.close()
    source = inspect.getsource(Connection)
    assert "self._nominated[pair.component] = pair" in source, "keyed by component, whose number is 1"
    assert "active_pair.protocol.send_data(data, active_pair.remote_addr)" in source
    assert "self.transport.sendto(data, addr)" in inspect.getsource(ice.StunProtocol.send_data)


def test_dtls_uses_its_ice_transport_by_these_names_only() -> None:
    source = inspect.getsource(RTCDtlsTransport)
    used = set(re.findall(r"self\.(?:_transport|transport)\.(\w+)", source))
    assert used == {"_recv", "_send", "role"}


def test_dtls_keeps_keys_and_states_where_we_look() -> None:
    source = inspect.getsource(RTCDtlsTransport)
    for needed in (
        "self._rx_srtp = Session(rx_policy)",
        "self._tx_srtp = Session(tx_policy)",
        'b"EXTRACTOR-dtls_srtp"',
        "srtp_rx_key = srtp_profile.get_key_and_salt(view, 0)",
        "srtp_tx_key = srtp_profile.get_key_and_salt(view, 1)",
        "async def _write_ssl(self)",
        'self.emit("statechange")',
        "def _set_role(self, role: str)",
        'if self._role == "server":',
    ):
        assert needed in source
    handler = inspect.getsource(RTCDtlsTransport._recv_next)
    assert "raise ConnectionError" in handler, "a DTLS close ends the data pump"


async def test_sctp_keeps_its_memory_where_we_look() -> None:
    link = type("Link", (), {"role": "controlled"})()
    sctp = RTCSctpTransport(tap.DtlsTransport(link, lambda: None))
    assert sctp._advertised_rwnd == 1 << 20 and sctp._inbound_streams_max == 65_535
    assert sctp._inbound_streams == {} and sctp._sack_misordered == set() and sctp._data_channels == {}
    assert rtcsctptransport.InboundStream().reassembly == []
    assert not sctp._data_channel_queue and not sctp._outbound_queue and not sctp._sent_queue
    source = inspect.getsource(RTCSctpTransport)
    for needed in (
        "chunk.advertised_rwnd = self._advertised_rwnd",
        "self._advertised_rwnd -= len(chunk.user_data)",
        "self._advertised_rwnd += len(message[2])",
        "await self._data_channel_receive(",
        "self.__transport._register_data_receiver(self)",
    ):
        assert needed in source
    assert "await self._data_receiver._handle_data(data)" in inspect.getsource(RTCDtlsTransport._recv_next)


async def test_dtls_state_words() -> None:
    link = type("Link", (), {"role": "controlled"})()
    transport = tap.DtlsTransport(link, lambda: None)
    assert transport.state == "new"
    transport._set_state(rtcdtlstransport.State.FAILED)
    assert transport.state == "failed"
    assert transport._srtp_profiles
    assert {"openssl_profile", "libsrtp_profile", "key_length", "salt_length"} <= set(vars(transport._srtp_profiles[0]))


def test_srtp_session_keeps_its_buffer_where_we_look() -> None:
    policy = pylibsrtp.Policy(key=bytes(30), ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND)
    policy.allow_repeat_tx = True
    policy.window_size = 8192
    session = pylibsrtp.Session(policy)
    assert len(session._cdata) == 1500
    assert len(session._buffer) == 1500
    assert session._srtp[0]
    for name in ("srtp_unprotect", "srtp_unprotect_rtcp"):
        assert callable(getattr(vars(tap)["lib"], name))


def test_srtp_reader_reads_what_a_session_wrote_and_refuses_the_rest() -> None:
    key = bytes(range(30))
    sender = pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND))
    reader = tap.SrtpReader(pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND)))
    packet = bytes.fromhex("80600001 00000001 00000001") + b"payload"
    report = bytes.fromhex("81c90001 00000001")
    protected = sender.protect(packet)
    assert reader.buffer[0 : reader.rtp(protected)] == packet
    assert reader.rtp(protected) == -1, "a replay"
    assert reader.rtp(protected[:-1] + b"?") == -1
    assert reader.rtp(bytes(1501)) == -1
    assert reader.rtp(b"") == -1
    assert reader.rtcp(sender.protect_rtcp(report)) == report
    assert reader.rtcp(b"rubbish!") is None
    assert reader.rtcp(bytes(1501)) is None


async def test_rubbish_on_the_socket_raises_nothing() -> None:
    """aioice's own parser raises struct.error for some of these."""
    from tests.sources.kit import LOOPBACK

    from tapedeck.sources.icelink import IceLink

    faults: list[Exception] = []
    media: list[bytes] = []
    link = IceLink(LOOPBACK, on_media=media.append, on_fault=faults.append, on_lost=lambda: None)
    await link.gather()
    protocol = link._connection._protocols[0]
    header = bytes.fromhex("0001000821 12a442".replace(" ", "")) + bytes(12)
    for data in (b"", b"\0", b"x", bytes(20), header + bytes.fromhex("80280001ff000000"), bytes(range(256))):
        protocol.datagram_received(data, ("127.0.0.1", 9))
    for _ in range(1000):
        protocol.datagram_received(b"\x16rubbish", ("127.0.0.1", 9))
    protocol.datagram_received(b"\x80media", ("127.0.0.1", 9))
    assert media == [b"\x80media"]
    assert link._dtls.qsize() == 256
    await link.close()
    assert all(isinstance(fault, Exception) for fault in faults)


async def test_checks_from_countless_addresses_are_not_all_remembered() -> None:
    from tests.sources.kit import LOOPBACK

    from tapedeck.sources.icelink import IceLink
    from tapedeck.sources.sdp import IceCredentials

    faults: list[Exception] = []
    link = IceLink(LOOPBACK, on_media=lambda data: None, on_fault=faults.append, on_lost=lambda: None)
    await link.gather()
    connection = link._connection
    connection.set_remote(IceCredentials("them", "0123456789012345678901"), lite=False)
    connecting = asyncio.ensure_future(connection.connect())
    await asyncio.sleep(0)
    for port in range(10_000, 10_500):
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{connection.local_username}:them"
        request.attributes["PRIORITY"] = 1
        request.attributes["ICE-CONTROLLING"] = 1
        request.add_message_integrity(connection.local_password.encode())
        connection._protocols[0].datagram_received(bytes(request), ("127.0.0.1", port))
    assert len(connection._remote_candidates) == 64
    assert len(connection._check_list) <= 64
    assert faults == []
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    await link.close()


def test_private_names_are_used_in_the_tap_alone() -> None:
    """No other file imports these libraries at all."""
    libraries = {"aiortc", "aioice", "pylibsrtp"}
    for path in SOURCES.glob("*.py"):
        imported: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
        if path.name not in ("tap.py", "messages.py"):
            assert not imported & libraries, f"{path.name} imports {imported & libraries}"
