import FabricCore
import FabricDocument
import FabricOperator
import FabricWire
import Testing

@testable import FabricNode

@Suite struct EnrolmentTests {
    @Test func `a host with a token becomes an active member`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        #expect(host.agent.status(now: bench.time(of: host)).phase == "active")
        #expect(Set(host.disk.map(\.file)) == Set(StateFile.allCases).subtracting([.control]))
        #expect(host.interfaces.map(\.domain) == [.fabric])
        #expect(host.channel?.clientChain.isEmpty == false)
        let phases = host.reports.compactMap { if case .phaseChanged(let phase) = $0 { phase } else { nil } }
        #expect(phases == [.joining, .awaitingApproval, .active])
        #expect(try bench.joinRequests().count == 1)
    }

    @Test func `nothing is asked before the identity is durable, and no datagram leaves before the floors are`() throws
    {
        let bench = try NodeBench()
        let host = try bench.join("a")
        let other = try bench.join("b")
        try #require(bench.run { bench.isUp(host) && bench.isUp(other) })
        for steps in [host.steps, other.steps] {
            let asked = try #require(steps.firstIndex { if case .requested = $0 { true } else { false } })
            #expect(try #require(steps.firstIndex(of: .durable(.identity))) < asked)
            let sent = try #require(steps.firstIndex { if case .datagram = $0 { true } else { false } })
            #expect(try #require(steps.firstIndex(of: .durable(.floors))) < sent)
        }
    }

    @Test func `no datagram leaves and no record is told while the floors can't be written`() throws {
        let bench = try NodeBench()
        _ = try bench.join("a")
        let host = bench.addHost("b", token: try bench.makeToken().token)
        host.diskError = { $0 == .floors ? .full : nil }
        bench.start(host)
        try #require(bench.run { host.agent.phase == .active && host.agent.durableSnapshotVersion > 0 })
        bench.run(.seconds(60))
        #expect(host.sent.isEmpty)
        let heartbeats = try host.heartbeats.map { try JSON.decode(ControlAPI.Heartbeat.self, from: $0) }
        #expect(heartbeats.count > 1 && heartbeats.allSatisfy { $0.record == nil })
        host.diskError = { _ in nil }
        #expect(bench.run { bench.isUp(host) })
        #expect(try JSON.decode(ControlAPI.Heartbeat.self, from: host.heartbeats.last!).record != nil)
    }

    /// What can happen to the n-th request of an enrolment.
    enum Mishap: CaseIterable { case unreachable, timedOut, answerLost, unavailable, unreadable }

    @Test(arguments: Mishap.allCases, 1...5)
    func `one mishap at any stage delays an enrolment and changes nothing`(_ mishap: Mishap, number: Int) throws {
        let bench = try NodeBench(seed: UInt64(number))
        let host = bench.addHost("a", token: try bench.makeToken(uses: 1).token)
        var count = 0
        host.course = { _ in
            count += 1
            guard count == number else { return .pass }
            switch mishap {
            case .unreachable: return .fail(.unreachable)
            case .timedOut: return .fail(.timedOut)
            case .answerLost: return .loseAnswer
            case .unavailable: return .answer(Problem(.unavailable, "not now").reply)
            case .unreadable: return .answer(HTTPReply(status: 200, body: Array("{\"challenge\":".utf8)))
            }
        }
        bench.start(host)
        #expect(bench.run { host.agent.phase == .active && host.agent.durableSnapshotVersion > 0 })
        #expect(count >= number)
        #expect(try bench.joinRequests().count == 1)
        #expect(host.steps.filter { $0 == .persisting(.identity) }.count == 1)
    }

    @Test func `requests that fail again and again are made less and less often`() throws {
        let bench = try NodeBench()
        bench.isControlPlaneAway = true
        let host = bench.addHost("a", token: try bench.makeToken().token)
        bench.start(host)
        bench.run(.seconds(10))
        #expect((3...6).contains(host.requests("/v1/enrolments")))
        bench.run(.seconds(590))
        #expect((30...75).contains(host.requests("/v1/enrolments")))
        bench.isControlPlaneAway = false
        #expect(bench.run(until: { host.agent.phase == .active }, limit: .seconds(30)))
    }

    @Test func `a control plane that answers polls at once is not asked in a tight loop`() throws {
        let bench = try NodeBench()
        bench.approves = false
        let host = bench.addHost("a", token: try bench.makeToken().token)
        host.course = { request in
            request.method == .get
                ? .answer(HTTPReply(status: 200, body: JSON.encodeOwn(ControlAPI.EnrolmentStatus(status: "pending"))))
                : .pass
        }
        bench.start(host)
        bench.run(.seconds(20))
        let polls = host.steps.count { if case .requested(.get, _) = $0 { true } else { false } }
        #expect((10...42).contains(polls))
    }

    @Test func `a member that waits for approval again does not ask in a tight loop`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        bench.run(.seconds(20))
        let pending = HTTPReply(status: 200, body: JSON.encodeOwn(ControlAPI.EnrolmentStatus(status: "pending")))
        host.course = { request in
            switch request.path {
            case "/v1/node/heartbeat": .answer(Problem(.forbidden, "no such node").reply)
            case "/v1/enrolments": .pass
            case let path where path.hasPrefix("/v1/enrolments/"): .answer(pending)
            default: .pass
            }
        }
        try #require(bench.run { host.agent.enrolment != nil })
        host.steps = []
        bench.run(.seconds(20))
        let polls = host.steps.count { if case .requested(.get, _) = $0 { true } else { false } }
        #expect((10...42).contains(polls))
        #expect(host.agent.phase == .active)
    }

    @Test func `a member that is refused a new place goes on as the member that it is`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        bench.run(.seconds(20))
        // The control plane's records come from before the node joined, until its operator restores the right ones.
        host.course = { request in
            request.path == "/v1/enrolments"
                ? .answer(Problem(.tokenUnknown, "no such token").reply)
                : .answer(Problem(.forbidden, "no such node").reply)
        }
        try #require(bench.run { host.requests("/v1/enrolments") > 1 })
        bench.run(.milliseconds(50))
        #expect(host.agent.phase == .active && host.agent.enrolment == nil)
        #expect(host.channel?.clientChain == host.agent.membership?.certificateChain.map(\.bytes))
        host.course = { _ in .pass }
        let version = host.agent.snapshotVersion
        host.agent.certificateRenewalAt = bench.now.wall
        let other = try bench.join("b")
        #expect(bench.run { host.agent.snapshotVersion > version && bench.isUp(host) && bench.isUp(other) })
        #expect(bench.run(until: { host.requests("/v1/node/certificate") > 0 }, limit: .seconds(30)))
    }

    @Test func `a reboot at any moment of an enrolment goes on with the same identity`() throws {
        for milliseconds in stride(from: 1, through: 120, by: 7) {
            let bench = try NodeBench()
            let token = try bench.makeToken(uses: 1).token
            let host = bench.addHost("a", token: token)
            bench.start(host)
            bench.run(.milliseconds(Int64(milliseconds)))
            bench.reboot(host)
            #expect(bench.run { host.agent.phase == .active }, "rebooted after \(milliseconds) ms")
            #expect(try bench.joinRequests().count == 1)
        }
    }

    @Test func `a join request that was forgotten is made again`() throws {
        let bench = try NodeBench()
        let host = bench.addHost("a", token: try bench.makeToken().token)
        var forgets = true
        host.course = { request in
            guard request.method == .get, forgets else { return .pass }
            forgets = false
            return .answer(Problem(.notFound, "no such join request").reply)
        }
        bench.start(host)
        #expect(bench.run { host.agent.phase == .active })
        #expect(host.requests("/v1/enrolments") == 2)
    }

    @Test(arguments: [
        Problem.Code.tokenUnknown, .tokenExpired, .tokenRevoked, .tokenUsedUp, .tokenScope, .requestUnacceptable,
        .keyInUse,
        .proofFailed,
    ]) func `a refusal for good ends in phase refused, with its code`(_ code: Problem.Code) throws {
        let bench = try NodeBench()
        let host = bench.addHost("a", token: try bench.makeToken().token)
        host.course = { _ in .answer(Problem(code, "because").reply) }
        bench.start(host)
        bench.run(.seconds(30))
        #expect(host.agent.phase == .refused(code, "because"))
        #expect(host.agent.status(now: bench.time(of: host)).reason == code.rawValue)
        #expect(host.requests("/v1/enrolments") == 1)
        #expect(host.agent.enrolmentCall.due == nil)
    }

    @Test func `a revoked token, an expired one and a rejection are told as such by the real control plane`() throws {
        let bench = try NodeBench()
        bench.approves = false
        let (revoked, id) = try bench.makeToken()
        _ = try bench.ask(bench.calls.revoke(id, in: bench.cluster.cluster))
        let a = bench.addHost("a", token: revoked)
        bench.start(a)
        let b = bench.addHost("b", token: try bench.makeToken(lifetime: .seconds(60)).token)
        let c = bench.addHost("c", token: try bench.makeToken().token)
        bench.start(c)
        bench.run(.seconds(61))
        bench.start(b)
        let request = try #require(try bench.joinRequests().first { $0.name == "c" })
        _ = try bench.ask(bench.calls.reject(request.id, in: bench.cluster.cluster, reason: "unknown machine"))
        bench.run(.seconds(5))
        func code(_ host: NodeHost) -> Problem.Code? {
            if case .refused(let code, _) = host.agent.phase { code } else { nil }
        }
        #expect(code(a) == .tokenRevoked)
        #expect(code(b) == .tokenExpired)
        #expect(c.agent.phase == .refused(.requestRejected, "unknown machine"))
    }

    @Test func `a grant of a cluster that the token does not name is not taken`() throws {
        let bench = try NodeBench()
        var token = try bench.makeToken().token
        token.clusterPin[0] ^= 1
        let host = bench.addHost("a", token: token)
        bench.start(host)
        bench.run(.seconds(30))
        #expect(host.agent.phase == .awaitingApproval)
        #expect(host.refusedFiles.contains(.membership))
        #expect(host.file(.membership) == nil)
    }

    @Test func `a grant with another node's admission or certificate is not taken`() throws {
        let bench = try NodeBench()
        let other = try bench.join("other")
        let foreign = try #require(other.agent.membership)
        for swap in [
            { (grant: inout ControlAPI.Grant) in grant.admission = foreign.admission },
            { grant in grant.certificateChain = foreign.certificateChain },
            { grant in grant.certificateChain = [] },
            { grant in grant.trust.signatures[0].sig.bytes[0] ^= 1 },
        ] {
            let host = bench.addHost("host-\(bench.hosts.count)", token: try bench.makeToken().token)
            host.course = { request in
                guard request.method == .get, request.path.hasPrefix("/v1/enrolments/") else { return .pass }
                return .rewriteAnswer { reply in
                    guard var status = try? JSON.decode(ControlAPI.EnrolmentStatus.self, from: reply.body),
                        status.grant != nil
                    else { return reply }
                    swap(&status.grant!)
                    return HTTPReply(status: 200, body: JSON.encodeOwn(status))
                }
            }
            bench.start(host)
            bench.run(.seconds(15))
            #expect(host.agent.phase == .awaitingApproval)
            #expect(host.refusedFiles.contains(.membership))
            host.course = { _ in .pass }
            #expect(bench.run { host.agent.phase == .active })
        }
    }
}
