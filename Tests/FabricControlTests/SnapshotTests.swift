import FabricControl
import FabricCore
import FabricDocument
import FabricOperator
import FabricPolicy
import FabricWire
import Testing

@Suite("Snapshots")
struct SnapshotTests {
    @Test func `joins close together make one snapshot for each node, and each names its ring neighbours`() throws {
        let bench = try Bench()
        try bench.activateCluster(degree: 2)
        let (token, _) = try bench.makeToken()
        let hosts = try (0..<9).map {
            try bench.join("n\($0)", token, domains: $0 % 3 == 0 ? ["fabric", "blue"] : ["fabric"])
        }
        bench.advance(.seconds(1))
        let fabric = RingPeering(nodes: hosts.map(\.node), degree: 2)
        let blue = RingPeering(nodes: hosts.indices.filter { $0 % 3 == 0 }.map { hosts[$0].node }, degree: 2)
        for (index, host) in hosts.enumerated() {
            let snapshot = try bench.snapshot(of: host)
            #expect(snapshot.version == 1)
            #expect(snapshot.previousHash == nil)
            let peers = Dictionary(uniqueKeysWithValues: snapshot.domains.map { ($0.id, $0.peers) })
            #expect(peers[.fabric] == fabric.neighbours(of: host.node))
            #expect(peers[RoutingDomainID("blue")!] == (index % 3 == 0 ? blue.neighbours(of: host.node) : nil))
            let members = try snapshot.members.map { try $0.unverified(Admission.self).node }
            #expect(members == Array(Set(snapshot.domains.flatMap(\.peers))).sorted())
        }
    }

    @Test func `a join changes the snapshots of the newcomer's neighbours and of nobody else`() throws {
        let bench = try Bench()
        try bench.activateCluster(degree: 2)
        let (token, _) = try bench.makeToken()
        let hosts = try (0..<8).map { try bench.join("n\($0)", token, domains: ["fabric"]) }
        bench.advance(.seconds(1))
        let before = try hosts.map { try bench.updates(of: $0).snapshot }
        let newcomer = try bench.join("late", token, domains: ["fabric"])
        bench.advance(.seconds(1))
        let affected = RingPeering(nodes: hosts.map(\.node), degree: 2).affectedByJoining(newcomer.node)
        for (host, old) in zip(hosts, before) {
            let new = try bench.snapshot(of: host)
            let oldSnapshot = try #require(old).unverified(Snapshot.self)
            if affected.contains(host.node) {
                #expect(new.version == oldSnapshot.version + 1)
                #expect(new.previousHash == old?.payloadHash(bench.cryptography))
                #expect(new.domains[0].peers.contains(newcomer.node))
            } else {
                #expect(new == oldSnapshot)
            }
        }
    }

    @Test func `a parked node gets its snapshot as soon as it is made`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let first = try bench.join("first", token)
        bench.advance(.seconds(1))
        let version = try bench.snapshot(of: first).version
        let parked = bench.send(first.updates(snapshot: version, wait: 60), peer: first.facts)
        let second = try bench.join("second", token)
        #expect(bench.replies[parked] == nil)
        bench.advance(.milliseconds(200))
        let updates = try JSON.decode(ControlAPI.Updates.self, from: try #require(bench.replies[parked]).body)
        #expect(
            try updates.snapshot?.unverified(Snapshot.self).members.first?.unverified(Admission.self).node
                == second.node)
    }

    @Test func `a snapshot is refreshed before it is due, with the same contents`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.join("node", token)
        try bench.join("other", token)
        bench.advance(.seconds(1))
        let first = try bench.snapshot(of: host)
        #expect(first.refreshAfter - first.issuedAt == 86_400 && first.hardExpiry - first.issuedAt == 30 * 86_400)
        bench.advance(.seconds(23 * 3600))
        #expect(try bench.snapshot(of: host) == first)
        bench.advance(.seconds(3600 - 2))
        let second = try bench.snapshot(of: host)
        #expect(second.version == first.version + 1 && second.domains == first.domains)
        #expect(second.refreshAfter > first.refreshAfter)
    }

    @Test func `a change that leaves a node's peers as they were makes it no snapshot`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.join("node", token)
        let other = try bench.join("other", token)
        bench.advance(.seconds(1))
        let version = try bench.snapshot(of: host).version
        _ = try bench.ask(bench.calls.disable(other.node, in: other.cluster))
        _ = try bench.ask(bench.calls.enable(other.node, in: other.cluster))
        bench.advance(.seconds(1))
        #expect(try bench.snapshot(of: host).version == version)
        #expect(bench.service.counters.snapshotsUnchanged >= 1)
    }

    @Test func `a node ahead of a restored database gets versions above its own`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let host = try bench.join("node", try bench.makeToken().token)
        bench.advance(.seconds(1))
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall, applied: 40), peer: host.facts) == nil)
        bench.advance(.seconds(1))
        // With a number left out, since nobody here knows from what it would follow.
        #expect(try bench.snapshot(of: host).version == 42)
        #expect(try bench.snapshot(of: host).previousHash == nil)
        #expect(
            try bench.refusal(host.heartbeat(at: bench.now.wall, applied: .max), peer: host.facts) == .malformedRequest)
    }

    @Test func `a node with another snapshot of the same number, or of the one before, gets one that it can take`()
        throws
    {
        let bench = try Bench { $0.reportAuditInterval = .zero }
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.join("node", token)
        bench.advance(.seconds(1))
        func beat(_ version: Int64, _ hash: [UInt8]?) throws -> Int64 {
            let request = host.heartbeat(at: bench.now.wall, applied: version, hash: hash)
            #expect(try bench.refusal(request, peer: host.facts) == nil)
            bench.advance(.seconds(1))
            return try bench.snapshot(of: host).version
        }
        func hash() throws -> [UInt8] {
            try #require(try bench.updates(of: host).snapshot).payloadHash(bench.cryptography).bytes
        }
        let first = try hash()
        #expect(try beat(1, first) == 1)
        #expect(try beat(1, nil) == 1)
        #expect(try beat(1, [UInt8](repeating: 7, count: 32)) == 3)
        #expect(try bench.snapshot(of: host).previousHash == nil)
        let third = try hash()
        #expect(try beat(3, third) == 3)
        // The next one follows from the third, which this node says it does not have.
        try bench.join("other", token)
        bench.advance(.seconds(1))
        #expect(try bench.snapshot(of: host).version == 4)
        #expect(try beat(3, third) == 4)
        #expect(try beat(3, first) == 6)
        #expect(try beat(2, first) == 6)
        #expect(try bench.audit().filter { $0.event == "node snapshot version raised" }.count == 2)
    }

    @Test func `a store error delays snapshots and loses none`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let host = try bench.join("node", try bench.makeToken().token)
        bench.store.next = .unavailable
        bench.advance(.milliseconds(300))
        #expect(bench.service.counters.storeErrors == 1)
        bench.advance(.seconds(2))
        #expect(try bench.snapshot(of: host).version == 1)
    }

    @Test func `many dirty snapshots are made in several transactions`() throws {
        let bench = try Bench { $0.snapshotsPerFlush = 2 }
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let hosts = try (0..<5).map { try bench.join("n\($0)", token, domains: ["fabric"]) }
        bench.advance(.seconds(1))
        for host in hosts { #expect(try bench.snapshot(of: host).domains[0].peers.count == 4) }
    }
}
