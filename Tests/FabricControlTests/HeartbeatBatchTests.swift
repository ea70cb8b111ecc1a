import FabricControl
import FabricCore
import FabricDocument
import FabricOperator
import FabricWire
import Testing

/// Heartbeats that are stored together. Whoever sends one must not be able to tell.
@Suite("Heartbeats in batches")
struct HeartbeatBatchTests {
    /// A cluster of hosts that count as online, each with its first heartbeat behind it.
    private func online(_ count: Int, _ bench: Bench) throws -> [TestHost] {
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let hosts = try (0..<count).map { try bench.join("node-\($0)", token) }
        bench.advance(.seconds(2))
        for host in hosts {
            #expect(try bench.reply(host.heartbeat(at: bench.now.wall), peer: host.facts).status == 200)
        }
        return hosts
    }

    private func beat(_ host: TestHost, _ bench: Bench) -> UInt64 {
        bench.send(host.heartbeat(at: bench.now.wall), peer: host.facts)
    }

    private func latest(_ bench: Bench) throws -> [String: [Int64]] {
        let rows = try bench.store.transaction {
            try $0.query("SELECT node_id, sequence, received_at, peers_up, clock_offset FROM node_heartbeats", [])
        }
        var byNode: [String: [Int64]] = [:]
        for row in rows {
            byNode[try row.text("node_id")] = [
                try row.integer("sequence"), try row.integer("received_at"), try row.integer("peers_up"),
                try row.integer("clock_offset"),
            ]
        }
        return byNode
    }

    @Test(arguments: [1, 2, 3, 5, 8, 9, 40]) func `those that wait are stored in one transaction`(count: Int) throws {
        let bench = try Bench()
        let hosts = try online(count, bench)
        bench.advance(.seconds(15))
        let (writes, statements) = (bench.store.writes, bench.store.statements)
        let batches = bench.service.counters.heartbeatBatches
        let ids = hosts.map { beat($0, bench) }
        let came = bench.now.wall.nanoseconds / 1_000_000
        #expect(ids.allSatisfy { bench.replies[$0] == nil } && bench.store.statements == statements)
        bench.advance(bench.settings.heartbeatWait)
        #expect(bench.store.writes == writes + 1 && bench.store.statements - statements == 2)
        #expect(bench.service.counters.heartbeatBatches == batches + 1)
        for id in ids {
            let reply = try JSON.decode(ControlAPI.HeartbeatReply.self, from: try #require(bench.replies[id]).body)
            #expect(reply.intervalSeconds == 15 && reply.snapshotVersion >= 1 && reply.recordSequence == nil)
        }
        let rows = try latest(bench)
        for host in hosts { #expect(rows[host.node.text] == [2, came, 0, 0]) }
    }

    @Test func `one that finds as many as are stored at once waits no longer`() throws {
        let bench = try Bench { $0.heartbeatsPerBatch = 3 }
        let hosts = try online(4, bench)
        let ids = hosts.map { beat($0, bench) }
        #expect(ids.map { bench.replies[$0] != nil } == [true, true, true, false])
        bench.advance(bench.settings.heartbeatWait)
        #expect(bench.replies[ids[3]]?.status == 200)
    }

    @Test func `history is kept once in each stretch of time, in its ring`() throws {
        let bench = try Bench { $0.heartbeatHistory = 3 }
        let hosts = try online(3, bench)
        func history() throws -> [Int64] {
            try bench.store.transaction {
                try $0.query("SELECT slot FROM node_heartbeat_history ORDER BY node_id, slot", [])
            }.map { try $0.integer("slot") }
        }
        for stretch in 0..<5 {
            for _ in 0..<3 {
                for host in hosts { _ = beat(host, bench) }
                bench.advance(.seconds(10))
            }
            #expect(try history().count == 3 * min(stretch + 1, 3))
            bench.advance(bench.settings.heartbeatHistoryInterval - .seconds(30))
            for host in hosts { _ = beat(host, bench) }
            bench.advance(.seconds(1))
        }
        #expect(try history() == [0, 1, 2, 0, 1, 2, 0, 1, 2])
    }

    @Test func `each gets its own answer: a disabled node, a foreign certificate, a stranger, two of one`() throws {
        let bench = try Bench()
        let hosts = try online(4, bench)
        let disabled = bench.calls.disable(hosts[1].node, in: hosts[1].cluster)
        _ = try bench.ask(disabled)
        let stranger = try bench.host("stranger")
        var foreign = try #require(hosts[2].facts)
        foreign.publicKey = stranger.identityKey
        var absent = foreign
        absent.spiffeID = stranger.spiffeID
        let ids = [
            beat(hosts[0], bench), beat(hosts[1], bench),
            bench.send(hosts[2].heartbeat(at: bench.now.wall), peer: foreign),
            bench.send(stranger.heartbeat(at: bench.now.wall), peer: absent), beat(hosts[3], bench),
            beat(hosts[3], bench),
        ]
        bench.advance(bench.settings.heartbeatWait)
        let codes = try ids.map { try Bench.refusal(try #require(bench.replies[$0])) }
        #expect(codes == [nil, .nodeDisabled, .forbidden, .forbidden, nil, nil])
        #expect(bench.service.counters.heartbeatBatchesBroken == 0 && bench.service.counters.storeErrors == 0)
        #expect(try latest(bench)[hosts[3].node.text]?[0] == 3)
    }

    @Test func `what needs more than the latest state is done all the same`() throws {
        let bench = try Bench()
        let hosts = try online(3, bench)
        // A clock that is wrong, a snapshot that was never made here, and one that says nothing new.
        let wrong = bench.send(hosts[0].heartbeat(at: bench.now.wall + .seconds(600)), peer: hosts[0].facts)
        let version = try JSON.decode(
            ControlAPI.HeartbeatReply.self,
            from: try bench.reply(hosts[2].heartbeat(at: bench.now.wall), peer: hosts[2].facts).body
        ).snapshotVersion
        let raised = bench.send(
            hosts[1].heartbeat(at: bench.now.wall, applied: version + 5), peer: hosts[1].facts)
        bench.advance(bench.settings.heartbeatWait)
        #expect(bench.replies[wrong]?.status == 200)
        let reply = try JSON.decode(ControlAPI.HeartbeatReply.self, from: try #require(bench.replies[raised]).body)
        #expect(reply.snapshotVersion == version + 6)
        let details = try bench.audit().map(\.detail)
        #expect(details.contains("its clock is 600 s off"))
        #expect(details.contains { $0.hasPrefix("from \(version) to \(version + 6)") })
    }

    @Test func `a peer record does not wait`() throws {
        let bench = try Bench()
        let host = try online(1, bench)[0]
        let id = bench.send(
            host.heartbeat(at: bench.now.wall, record: try host.record(sequence: 1)), peer: host.facts)
        let reply = try JSON.decode(ControlAPI.HeartbeatReply.self, from: try #require(bench.replies[id]).body)
        #expect(reply.recordSequence == 1)
    }

    @Test(arguments: [FaultyStore.Fault.unavailable, .unknownButCommitted, .unknownAndLost])
    func `when the store fails, all are told, and the next go on`(fault: FaultyStore.Fault) throws {
        let bench = try Bench()
        let hosts = try online(3, bench)
        let ids = hosts.map { beat($0, bench) }
        bench.store.next = fault
        bench.advance(bench.settings.heartbeatWait)
        for id in ids { #expect(try Bench.refusal(try #require(bench.replies[id])) == .unavailable) }
        #expect(bench.service.counters.failed == 3)
        for host in hosts {
            #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: host.facts) == nil)
        }
    }

    @Test func `a transaction that runs twice stores the same`() throws {
        let bench = try Bench()
        let hosts = try online(3, bench)
        bench.store.runsTwice = true
        let ids = hosts.map { beat($0, bench) }
        bench.advance(bench.settings.heartbeatWait)
        #expect(ids.allSatisfy { bench.replies[$0]?.status == 200 })
        let rows = try latest(bench)
        for host in hosts { #expect(rows[host.node.text]?[0] == 2) }
        let kept = try bench.store.transaction {
            try $0.query("SELECT count(*) AS kept FROM node_heartbeat_history", [])
        }
        #expect(try kept[0].integer("kept") == 3)
        try bench.verifyAudit()
    }

    @Test func `on a full disk a disabled node is told that it is disabled, and the others that they may ask again`()
        throws
    {
        let bench = try Bench()
        let hosts = try online(3, bench)
        _ = try bench.ask(bench.calls.disable(hosts[1].node, in: hosts[1].cluster))
        bench.store.isFull = true
        let ids = hosts.map { beat($0, bench) }
        bench.advance(bench.settings.heartbeatWait)
        let codes = try ids.map { try Bench.refusal(try #require(bench.replies[$0])) }
        #expect(codes == [.unavailable, .nodeDisabled, .unavailable])
    }

    @Test func `the later of two of one node stands, also when the earlier had to go by itself`() throws {
        let bench = try Bench()
        let host = try online(1, bench)[0]
        let wrong = bench.send(host.heartbeat(at: bench.now.wall + .seconds(600)), peer: host.facts)
        let right = beat(host, bench)
        bench.advance(bench.settings.heartbeatWait)
        #expect(bench.replies[wrong]?.status == 200 && bench.replies[right]?.status == 200)
        #expect(try latest(bench)[host.node.text]?[0] == 3)
        #expect(try bench.ask(bench.calls.node(host.node, in: host.cluster)).clockOffsetMilliseconds == 0)
    }

    @Test func `one that waits is not stored over one that was handled at once`() throws {
        let bench = try Bench()
        let host = try online(1, bench)[0]
        let earlier = beat(host, bench)
        let record = try host.record(sequence: 1)
        let later = bench.send(host.heartbeat(at: bench.now.wall, record: record), peer: host.facts)
        #expect(bench.replies[earlier]?.status == 200 && bench.replies[later]?.status == 200)
        bench.advance(bench.settings.heartbeatWait)
        #expect(try latest(bench)[host.node.text]?[0] == 3)
    }

    @Test func `a node whose heartbeats may have been stored does not fall silent`() throws {
        let bench = try Bench()
        let host = try online(1, bench)[0]
        for _ in 0..<5 {
            bench.advance(.seconds(14))
            let id = beat(host, bench)
            bench.store.next = .unknownButCommitted
            bench.advance(.seconds(1))
            #expect(try Bench.refusal(try #require(bench.replies[id])) == .unavailable)
        }
        #expect(try bench.audit().filter { $0.detail.hasPrefix("online → offline") }.isEmpty)
    }

    @Test func `no more wait than may`() throws {
        let bench = try Bench { $0.waitingHeartbeats = 3 }
        let hosts = try online(4, bench)
        let ids = hosts.map { beat($0, bench) }
        #expect(try Bench.refusal(try #require(bench.replies[ids[3]])) == .unavailable)
        bench.advance(bench.settings.heartbeatWait)
        #expect(ids.dropLast().allSatisfy { bench.replies[$0]?.status == 200 })
    }

    @Test func `many that go by themselves are answered some in a turn`() throws {
        let bench = try Bench()
        let hosts = try online(20, bench)
        let ids = hosts.map { bench.send($0.heartbeat(at: bench.now.wall + .seconds(600)), peer: $0.facts) }
        var actions: [ControlService.Action] = []
        let due = try #require(bench.service.nextDeadline())
        var turns: [Int] = []
        while bench.service.nextDeadline()?.reason == .heartbeats {
            bench.service.handleDeadline(now: Now(monotonic: due.instant, wall: bench.now.wall), into: &actions)
            turns.append(actions.count)
        }
        #expect(turns == [0, 8, 16, ids.count])
    }

    @Test func `a node whose heartbeats are stored with others does not fall silent, and one that stops does`() throws {
        let bench = try Bench()
        let hosts = try online(3, bench)
        for _ in 0..<8 {
            for host in hosts.dropLast() { _ = beat(host, bench) }
            bench.advance(.seconds(15))
        }
        #expect(bench.service.counters.heartbeatBatches >= 8)
        let offline = try bench.audit().filter { $0.detail.hasPrefix("online → offline") }
        #expect(offline.map(\.subject) == ["node \(hosts[2].node)"])
    }

    /// Many times a day with the same nodes, or once in a year with all of them.
    @Test(arguments: [Duration.seconds(30), .seconds(900)])
    func `after an outage those that return are stored together, and the audit hears of each`(silence: Duration) throws
    {
        let bench = try Bench()
        let hosts = try online(20, bench)
        let wait = bench.settings.heartbeatInterval * bench.settings.missedHeartbeats + silence
        for _ in 0..<Int(wait / .seconds(15)) { bench.advance(.seconds(15)) }
        func health() throws -> [String] { try bench.ask(bench.calls.nodes(hosts[0].cluster)).items.map(\.health) }
        #expect(try health().allSatisfy { $0 == "offline" })
        let batches = bench.service.counters.heartbeatBatches
        func round() throws {
            let (writes, statements) = (bench.store.writes, bench.store.statements)
            let ids = hosts.map { beat($0, bench) }
            bench.advance(bench.settings.heartbeatWait)
            #expect(ids.allSatisfy { bench.replies[$0]?.status == 200 })
            #expect(bench.store.writes == writes + 1)
            // Who sends, their state, history; that they are online, what of it is told, and the audit's three.
            #expect(bench.store.statements - statements <= 8)
        }
        try round()
        #expect(try health().allSatisfy { $0 == "online" })
        // What was counted only makes no heartbeat a special one until it may be told.
        try round()
        #expect(bench.service.counters.heartbeatBatches == batches + 2)
        func told() throws -> [String] {
            try bench.audit().map(\.detail).filter {
                $0.hasPrefix("offline → online") || $0.hasPrefix("online now (1 untold")
            }
        }
        #expect(try told().count == (silence > bench.settings.reportAuditInterval ? 20 : 0))
        for _ in 0..<45 {
            bench.advance(.seconds(15))
            for host in hosts { _ = beat(host, bench) }
        }
        bench.advance(.seconds(1))
        #expect(try told().count == 20)
        try bench.verifyAudit()
    }

    @Test
    func `after a change those that have the snapshot before it are stored together, and no other of that number`()
        throws
    {
        let bench = try Bench()
        let hosts = try online(3, bench)
        let held = try hosts.map { try #require(try bench.updates(of: $0).snapshot) }
        let (token, _) = try bench.makeToken()
        try bench.join("newcomer", token)
        bench.advance(.seconds(2))
        let writes = bench.store.writes
        var ids: [UInt64] = []
        for (host, envelope) in zip(hosts, held) {
            let version = try envelope.unverified(Snapshot.self).version
            let hash = host === hosts[2] ? [1] : envelope.payloadHash(bench.cryptography).bytes
            let beat = host.heartbeat(at: bench.now.wall, applied: version, hash: hash)
            ids.append(bench.send(beat, peer: host.facts))
        }
        bench.advance(bench.settings.heartbeatWait)
        #expect(bench.store.writes == writes + 2)
        let versions = try zip(ids, held).map { id, envelope in
            let reply = try JSON.decode(ControlAPI.HeartbeatReply.self, from: try #require(bench.replies[id]).body)
            return reply.snapshotVersion - (try envelope.unverified(Snapshot.self).version)
        }
        #expect(versions == [1, 1, 2])
        #expect(try bench.audit().map(\.detail).filter { $0.hasSuffix("another of that number") }.count == 1)
    }

    @Test func `a host that hangs up is no reason to lose its heartbeat, or to answer`() throws {
        let bench = try Bench()
        let hosts = try online(2, bench)
        let ids = hosts.map { beat($0, bench) }
        bench.disconnect(ids[0])
        bench.advance(bench.settings.heartbeatWait)
        #expect(bench.replies[ids[1]]?.status == 200 && bench.replies[ids[0]] == nil)
        #expect(try latest(bench)[hosts[0].node.text]?[0] == 2)
    }
}
