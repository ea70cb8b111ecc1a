import FabricCore
import FabricDocument
import FabricMesh
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

@Suite struct StateFrameTests {
    let cryptography: any Cryptography = NodeBench.makeCryptography()
    let state = FloorsState(wallNanoseconds: 1, handshakeNanoseconds: 2, recordSequence: 3)

    @Test func `a state file survives its frame`() throws {
        #expect(try StateFrame.open(FloorsState.self, StateFrame.seal(state, cryptography), cryptography) == state)
    }

    @Test func `a state file that is cut, grown or changed in one bit is refused`() {
        let bytes = StateFrame.seal(state, cryptography)
        func isRefused(_ bytes: [UInt8]) -> Bool {
            (try? StateFrame.open(FloorsState.self, bytes, cryptography)) == nil
        }
        for count in 0..<bytes.count { #expect(isRefused(Array(bytes.prefix(count))), "\(count) bytes") }
        #expect(isRefused(bytes + [10]))
        for index in bytes.indices {
            for bit in 0..<8 {
                var changed = bytes
                changed[index] ^= 1 << UInt8(bit)
                #expect(isRefused(changed), "byte \(index) bit \(bit)")
            }
        }
    }
}

/// What an agent makes of the files that it finds.
@Suite struct RestartTests {
    @Test func `a member comes up from its files, without the control plane, and carries packets`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        bench.isControlPlaneAway = true
        for host in [a, b] { bench.reboot(host) }
        #expect(a.agent.phase == .active && b.agent.phase == .active)
        #expect(bench.run(until: { bench.isUp(a) && bench.isUp(b) }, limit: .seconds(15)))
        bench.inject(Packets.udp(from: a, to: b, [1, 2, 3]), a)
        bench.run(.seconds(1))
        #expect(b.delivered.map(\.packet) == [Packets.udp(from: a, to: b, [1, 2, 3])])
    }

    @Test func `an identity file that is cut or changed breaks the agent, with words that name it and the mend`() throws
    {
        let bench = try NodeBench()
        let host = try bench.join("a")
        let bytes = try #require(host.file(.identity))
        var damaged = (0..<bytes.count).map { Array(bytes.prefix($0)) }
        for index in bytes.indices {
            damaged.append(bytes)
            damaged[damaged.count - 1][index] ^= 1 << UInt8(index % 8)
        }
        for bytes in damaged {
            bench.reboot(host, starts: false)
            host.setFile(.identity, bytes)
            bench.start(host)
            guard case .broken(let why) = host.agent.phase else {
                Issue.record("phase \(host.agent.phase)")
                return
            }
            #expect(why.contains("identity.json") && why.contains("restore it") && why.contains("enrol again"))
            #expect(host.refusedFiles == [.identity])
            #expect(host.steps.isEmpty)
        }
        bench.run(.seconds(60))
        #expect(host.steps.isEmpty)
    }

    @Test(arguments: StateFile.allCases)
    func `a report of a state file says which, what is wrong and what comes of it`(file: StateFile) {
        let refused = "\(NodeReport.stateRefused(file, "its checksum does not match"))"
        let mend =
            switch file {
            case .identity: "restore it from a backup, or empty the state directory and enrol again with a join token"
            case .membership: "it is fetched again with the join token; without one, start the agent with --token"
            case .snapshot: "it is fetched again from the control plane"
            case .floors: "it is made anew; should peers refuse this node's handshakes, set its clock"
            case .control: "the control plane's name is looked up"
            }
        #expect(refused == "state file \(file.rawValue) refused: its checksum does not match; \(mend)")
        let errors: [(DiskError, String)] = [
            (.full, "make room"), (.permission, "mount it writable"), (.notFound, "put it back"),
            (.failed(code: 5), "errno 5"),
        ]
        for (error, mend) in errors {
            let failed = "\(NodeReport.persistFailed(file, error))"
            #expect(failed.contains(file.rawValue) && failed.contains(mend), "\(failed)")
        }
    }

    @Test func `a membership without its identity breaks the agent`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        bench.reboot(host, starts: false)
        host.setFile(.identity, nil)
        bench.start(host)
        guard case .broken(let why) = host.agent.phase else {
            Issue.record("phase \(host.agent.phase)")
            return
        }
        #expect(why.contains("identity.json is missing"))
        #expect(host.steps.isEmpty)
    }

    @Test func `a damaged membership is fetched again with the token, and says so without one`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        let bytes = try #require(host.file(.membership))
        let token = host.configuration.joinToken
        for count in stride(from: 0, to: bytes.count, by: 61) {
            var changed = bytes
            changed[count] ^= 0x20
            for damaged in [Array(bytes.prefix(count)), changed] {
                host.configuration.joinToken = nil
                bench.reboot(host, starts: false)
                host.setFile(.membership, damaged)
                bench.start(host)
                guard case .broken(let why) = host.agent.phase else {
                    Issue.record("phase \(host.agent.phase)")
                    return
                }
                #expect(why.contains("membership.json") && why.contains("join token"))
                host.configuration.joinToken = token
                bench.reboot(host)
                #expect(host.agent.phase == .joining && host.refusedFiles == [.membership])
            }
        }
        #expect(bench.run { host.agent.phase == .active && host.agent.durableSnapshotVersion > 0 })
        #expect(try bench.joinRequests().count == 1)
        bench.reboot(host)
        #expect(host.agent.phase == .active && host.refusedFiles.isEmpty)
    }

    @Test func `a membership of another host is not taken`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        bench.reboot(a, starts: false)
        a.setFile(.membership, b.file(.membership))
        bench.start(a)
        #expect(a.agent.phase == .joining)
        #expect(a.refusedFiles == [.membership])
    }

    @Test func `damaged snapshots and floors are refused, reported, and the agent still comes up`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        for file in [StateFile.snapshot, .floors] {
            let bytes = try #require(a.file(file))
            for count in Array(stride(from: 0, to: min(bytes.count, 90), by: 11)) + [bytes.count / 2, bytes.count - 1] {
                var changed = bytes
                changed[count] ^= 1
                for damaged in [Array(bytes.prefix(count)), changed] {
                    bench.reboot(a, starts: false)
                    a.setFile(file, damaged)
                    bench.start(a)
                    #expect(a.agent.phase == .active)
                    #expect(a.refusedFiles == [file])
                }
            }
            #expect(bench.run(until: { bench.isUp(a) && bench.isUp(b) }, limit: .seconds(30)), "\(file)")
            #expect(bench.run { a.file(file).map { $0.count > 90 } ?? false })
        }
        bench.run(.seconds(5))
        bench.reboot(a)
        #expect(a.refusedFiles.isEmpty && a.agent.snapshotVersion > 0)
    }

    @Test func `floors out of every range are refused`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        for floors in [
            FloorsState(wallNanoseconds: 0, handshakeNanoseconds: 0, recordSequence: .max),
            FloorsState(wallNanoseconds: 0, handshakeNanoseconds: 0, recordSequence: -1),
            FloorsState(wallNanoseconds: .min, handshakeNanoseconds: .min, recordSequence: 0),
        ] {
            bench.reboot(host, starts: false)
            host.setFile(.floors, StateFrame.seal(floors, bench.cryptography))
            bench.start(host)
            #expect(host.refusedFiles == [.floors] && host.agent.phase == .active)
        }
        bench.reboot(host, starts: false)
        let extreme = FloorsState(
            wallNanoseconds: 0, handshakeNanoseconds: .max, recordSequence: FloorsState.highestRecordSequence)
        host.setFile(.floors, StateFrame.seal(extreme, bench.cryptography))
        bench.start(host)
        bench.run(.seconds(30))
        #expect(host.agent.phase == .active)
    }

    @Test(arguments: StateFile.allCases.filter { $0 != .control })
    func `a full disk is reported, tried again, and nothing is lost`(_ file: StateFile) throws {
        let bench = try NodeBench()
        let host = bench.addHost("a", token: try bench.makeToken().token)
        var failures = 0
        host.diskError = {
            guard $0 == file, failures < 3 else { return nil }
            failures += 1
            return .full
        }
        bench.start(host)
        #expect(
            bench.run(until: { host.agent.phase == .active && host.disk.count == 4 }, limit: .seconds(120)))
        #expect(failures == 3)
        #expect(host.reports.contains(.persistFailed(file, .full)))
        #expect(bench.run { host.agent.durableSnapshotVersion == host.agent.snapshotVersion })
        #expect(try bench.joinRequests().count == 1)
        let node = host.agent.nodeID
        bench.reboot(host)
        #expect(host.agent.phase == .active && host.agent.nodeID == node && host.agent.snapshotVersion > 0)
    }

    @Test func `heartbeats tell a snapshot only once it is durable`() throws {
        let bench = try NodeBench()
        let host = bench.addHost("a", token: try bench.makeToken().token)
        host.diskError = { $0 == .snapshot ? .full : nil }
        bench.start(host)
        try #require(bench.run { host.agent.snapshotVersion > 0 })
        bench.run(.seconds(40))
        func applied() throws -> [Int64] {
            try host.heartbeats.map { try JSON.decode(ControlAPI.Heartbeat.self, from: $0).appliedVersion }
        }
        #expect(try applied().allSatisfy { $0 == 0 })
        host.diskError = { _ in nil }
        bench.run(.seconds(40))
        #expect(try applied().last == host.agent.snapshotVersion)
    }

    // MARK: Clocks

    @Test func `handshakes are accepted after reboots with a clock that was set back ten minutes`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        a.clockError = .seconds(-600)
        // Twice: what the first life with the wrong clock has used must not be used again.
        for life in 1...3 {
            let before = b.agent.tunnelStatus(b.agent.peers[0])!.handshakes
            bench.reboot(a)
            #expect(bench.run(until: { bench.isUp(a) }, limit: .seconds(4)), "life \(life)")
            #expect(b.agent.tunnelStatus(b.agent.peers[0])!.handshakes > before)
        }
    }

    @Test func `time stamps never reach a floor that is not durable`() throws {
        let bench = try NodeBench()
        let (a, _) = try bench.joinPair()
        for error in [Duration.seconds(-86_400), .zero, .seconds(-600), .seconds(400)] {
            a.clockError = error
            bench.reboot(a)
            bench.run(.seconds(400))
            let floors = try StateFrame.open(FloorsState.self, a.file(.floors)!, bench.cryptography)
            let greatest = try #require(a.agent.tunnelStatus(a.agent.peers[0])?.timestamps.greatestSent)
            #expect(greatest < Packets.label(WallTime(nanoseconds: floors.handshakeNanoseconds)))
        }
    }

    /// The greatest time stamp that a host has sent, and its durable floor.
    private func stamps(_ host: NodeHost, _ bench: NodeBench) throws -> (greatest: TAI64N, floor: TAI64N) {
        let floors = try StateFrame.open(FloorsState.self, host.file(.floors)!, bench.cryptography)
        let greatest = try #require(host.agent.tunnelStatus(host.agent.peers[0])?.timestamps.greatestSent)
        return (greatest, Packets.label(WallTime(nanoseconds: floors.handshakeNanoseconds)))
    }

    @Test func `a clock that jumps past the floor begins no handshake until a higher one is durable`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        b.losesDatagrams = true
        bench.run(.seconds(30))
        let (before, _) = try stamps(a, bench)
        a.clockError = .seconds(3600)
        a.diskTime = .seconds(20)
        bench.run(.seconds(19))
        var (greatest, floor) = try stamps(a, bench)
        #expect(greatest < floor && greatest <= before)
        // Then they leave at once.
        bench.run(.seconds(7))
        (greatest, floor) = try stamps(a, bench)
        #expect(greatest < floor && greatest > Packets.label(bench.now.wall + .seconds(3500)))
        b.losesDatagrams = false
        #expect(bench.run(until: { bench.isUp(a) }, limit: .seconds(10)))
    }

    @Test func `a clock that jumps again and again writes its floors no more than once a second`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        b.losesDatagrams = true
        bench.run(.seconds(30))
        a.steps = []
        for _ in 0..<200 {
            a.clockError += .seconds(1_000)
            bench.run(.milliseconds(50))
        }
        #expect(a.steps.count { $0 == .persisting(.floors) } <= 12)
        let (greatest, floor) = try stamps(a, bench)
        #expect(greatest < floor)
    }

    @Test func `a disk that fills up while the node runs holds no handshake back, and later its floors are above them`()
        throws
    {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        bench.run(.seconds(20))
        a.diskError = { _ in .full }
        bench.run(.seconds(1_200))
        b.losesDatagrams = true
        bench.run(.seconds(30))
        var (greatest, floor) = try stamps(a, bench)
        #expect(greatest > floor)
        // The clock goes ahead and comes back before there is room: the floor is above what was sent meanwhile.
        a.clockError = .seconds(7_200)
        bench.run(.seconds(30))
        a.clockError = .zero
        a.diskError = { _ in nil }
        bench.run(.seconds(30))
        (greatest, floor) = try stamps(a, bench)
        #expect(greatest < floor && greatest > Packets.label(bench.now.wall + .seconds(7_000)))
        b.losesDatagrams = false
        #expect(bench.run(until: { bench.isUp(a) }, limit: .seconds(10)))
    }

    @Test func `a clock that differs is reported once, and the control plane's time is kept`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a", clockError: .seconds(-600))
        bench.run(.seconds(60))
        let offsets = host.reports.compactMap { if case .clockOffset(let offset) = $0 { offset } else { nil } }
        #expect(offsets.count == 1)
        #expect(host.agent.trustedWall(bench.time(of: host)) > bench.now.wall - .seconds(30))
    }

    // MARK: Certificates

    @Test func `a certificate is renewed after two thirds of its life, and the renewed one is kept`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        let first = try #require(host.agent.membership?.certificateChain)
        let validity = try bench.certificates.inspect(first[0].bytes).validity
        let due = validity.lowerBound + (validity.upperBound - validity.lowerBound) * 2 / 3
        bench.skip(to: due - .seconds(120))
        bench.run(.seconds(60))
        #expect(host.requests("/v1/node/certificate") == 0)
        var failures = 2
        host.course = { request in
            guard request.path == "/v1/node/certificate", failures > 0 else { return .pass }
            failures -= 1
            return failures == 1 ? .loseAnswer : .fail(.unreachable)
        }
        bench.run(.seconds(180))
        #expect(host.requests("/v1/node/certificate") == 3)
        let second = try #require(host.agent.membership?.certificateChain)
        #expect(second != first)
        #expect(host.channel?.clientChain == second.map(\.bytes))
        #expect(host.reports.contains { if case .certificateRenewed = $0 { true } else { false } })
        bench.reboot(host)
        #expect(host.agent.membership?.certificateChain == second)
        bench.run(.seconds(60))
        #expect(host.requests("/v1/node/certificate") == 0)
    }

    @Test func `a host whose disk is restored from before two rotations asks for a new certificate by itself`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        let backup = try #require(host.file(.membership))
        for _ in 0..<2 {
            bench.run(.seconds(61))
            host.agent.certificateRenewalAt = bench.now.wall
            bench.run(.seconds(60))
        }
        #expect(host.requests("/v1/node/certificate") == 2)
        host.setFile(.membership, backup)
        bench.reboot(host)
        bench.run(.seconds(30))
        #expect(host.requests("/v1/node/certificate") == 1, "counted from the reboot on")
        let refusedBefore = host.agent.counters.requestsFailed
        #expect(
            host.reports.contains { if case .controlFailed(let why) = $0 { why.contains("replaced") } else { false } })
        #expect(bench.run(until: { host.agent.ownRecordAcknowledged }, limit: .seconds(30)))
        #expect(host.agent.counters.requestsFailed == refusedBefore)
    }

    @Test func `a renewed certificate of another node is refused and the old one kept`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        let first = a.agent.membership
        let foreign = ControlAPI.RenewedCertificate(certificateChain: b.agent.membership!.certificateChain)
        a.course = { request in
            request.path == "/v1/node/certificate"
                ? .answer(HTTPReply(status: 200, body: JSON.encodeOwn(foreign))) : .pass
        }
        a.agent.certificateRenewalAt = bench.now.wall
        bench.run(.seconds(60))
        #expect((1...12).contains(a.requests("/v1/node/certificate")))
        #expect(a.agent.membership == first)
    }
}

@Suite struct FullDiskAtBootTests {
    private func joined() throws -> (bench: NodeBench, a: NodeHost, b: NodeHost) {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        bench.run(.seconds(20))
        return (bench, a, b)
    }

    @Test func `a node whose disk is full at every boot reaches its peers each time, with stamps that grow`() throws {
        let (bench, a, _) = try joined()
        a.diskError = { _ in .full }
        // Nil in a life in which the peer was faster.
        func sent() -> TAI64N? { a.agent.tunnelStatus(a.agent.peers[0])?.timestamps.greatestSent }
        var stamps: [TAI64N] = []
        for life in 1...6 {
            bench.reboot(a)
            #expect(bench.run(until: { bench.isUp(a) }, limit: .seconds(20)), "life \(life)")
            if let first = sent() {
                #expect(stamps.allSatisfy { $0 < first }, "life \(life)")
                stamps.append(first)
            }
            bench.run(.seconds(life == 3 ? 2_000 : 7))
            if let last = sent(), last != stamps.last { stamps.append(last) }
        }
        let greatest = try #require(stamps.max())
        #expect(stamps.count > 2)
        // With room again, a floor above all of it becomes durable.
        a.diskError = { _ in nil }
        bench.run(.seconds(30))
        let floors = try StateFrame.open(FloorsState.self, a.file(.floors)!, bench.cryptography)
        #expect(greatest < Packets.label(WallTime(nanoseconds: floors.handshakeNanoseconds)))
    }

    @Test func `a clock that has gone back keeps the tunnels down until the floor can be written`() throws {
        let (bench, a, _) = try joined()
        a.diskError = { _ in .full }
        a.clockError = .seconds(-86_400)
        bench.reboot(a)
        let before = a.sent.count
        bench.run(.seconds(60))
        #expect(a.sent.count == before)
        a.diskError = { _ in nil }
        #expect(bench.run(until: { bench.isUp(a) }, limit: .seconds(30)))
    }

    @Test func `the starting point lies above the floor by what the clock has gone on, and never overflows`() {
        func point(_ floor: Int64, _ reserved: Int64?, _ now: Int64) -> (Int64, Bool) {
            let floors = FloorsState(
                wallNanoseconds: 0, handshakeNanoseconds: floor, recordSequence: 0, reservedAtNanoseconds: reserved)
            let (stamp, isSafe) = floors.startingPoint(at: WallTime(nanoseconds: now))
            return (stamp.nanoseconds, isSafe)
        }
        #expect(point(1000, 100, 300) == (1200, true))
        #expect(point(1000, 100, 100) == (1000, true))
        #expect(point(1000, 100, 99) == (1000, false))
        #expect(point(1000, nil, 300) == (1000, false))
        #expect(point(50, 100, 300) == (50, false))
        #expect(point(.max, 100, 300) == (.max, false))
    }
}
