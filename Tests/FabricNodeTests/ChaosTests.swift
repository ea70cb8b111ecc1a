import FabricCore
import FabricDocument
import FabricMesh
import FabricWire
import Testing

@testable import FabricNode

/// Two hosts through ten bad minutes: lost requests and answers, full disks, power cuts, clocks that jump, lost
/// datagrams, a control plane that goes away. Whatever happens, nothing is used twice, and afterwards all is well.
@Suite struct ChaosTests {
    @Test(arguments: 1...4 as ClosedRange<UInt64>) func `whatever happens, nothing is used twice, and all recovers`(
        _ seed: UInt64
    ) throws {
        let bench = try NodeBench(seed: seed)
        let dice = SeededRandom(seed: seed, stream: "chaos")
        func happens(_ percent: UInt64) -> Bool { dice.below(100) < percent }
        let hosts = try ["a", "b"].map { bench.addHost($0, token: try bench.makeToken(uses: 1).token) }
        for host in hosts {
            host.course = { _ in
                if happens(15) { return .fail(.unreachable) }
                if happens(10) { return .loseAnswer }
                if happens(3) { return .answer(HTTPReply(status: 200, body: [0x7B])) }
                return happens(3) ? .answer(Problem(.unavailable, "not now").reply) : .pass
            }
            host.diskError = { _ in happens(15) ? .full : nil }
            bench.start(host)
        }
        var identities: [[UInt8]?] = [nil, nil]
        for _ in 0..<150 {
            bench.run(.milliseconds(Int64(dice.below(4000))))
            bench.isControlPlaneAway = happens(15)
            for (index, host) in hosts.enumerated() {
                host.losesDatagrams = happens(20)
                if happens(10) {
                    let other = Endpoint("198.51.100.1:\(1 + dice.below(60_000))")!
                    bench.tell(host, .endpointsChanged([host.endpoint, other]))
                }
                if happens(8) {
                    host.clockError = .seconds(Int64(dice.below(1200)) - 600)
                    bench.reboot(host)
                }
                if case .broken(let why) = host.agent.phase { Issue.record("\(host.name): \(why)") }
                if case .refused(let code, _) = host.agent.phase { Issue.record("\(host.name): \(code)") }
                guard let identity = host.file(.identity) else { continue }
                #expect(identities[index] == nil || identities[index] == identity)
                identities[index] = identity
            }
        }
        for host in hosts {
            var told: [Int64: Blob] = [:]
            for bytes in host.heartbeats {
                let beat = try JSON.decode(ControlAPI.Heartbeat.self, from: bytes)
                guard let record = beat.record else { continue }
                let sequence = try record.unverified(PeerRecord.self).sequence
                #expect(told[sequence] == nil || told[sequence] == record.payload, "record \(sequence)")
                told[sequence] = record.payload
            }
            host.course = { _ in .pass }
            host.diskError = { _ in nil }
            host.losesDatagrams = false
        }
        bench.isControlPlaneAway = false
        #expect(bench.run(until: { hosts.allSatisfy { bench.isUp($0) } }, limit: .seconds(90)))
        #expect(bench.run(until: { hosts.allSatisfy { $0.agent.ownRecordAcknowledged } }, limit: .seconds(60)))
        #expect(try bench.joinRequests().count == 2)
        for (host, other) in [(hosts[0], hosts[1]), (hosts[1], hosts[0])] {
            #expect(
                bench.run {
                    other.agent.directory?.member(host.agent.nodeID!)?.record?.sequence == host.agent.ownRecordSequence
                })
            // And all of it is on disk.
            bench.run(.seconds(20))
            bench.reboot(host)
            #expect(host.agent.phase == .active && host.refusedFiles.isEmpty)
        }
    }
}
