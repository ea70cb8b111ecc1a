import Dispatch
import FabricCore
import FabricIdentity
import FabricWire
import Foundation
import Synchronization
import Testing

@testable import FabricRuntime

extension HTTPTests {
    @Suite struct RoundTrip {
        let pki: TestPKI

        init() throws { pki = try TestPKI() }

        @Test func `a request arrives whole and its reply comes back`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier())
            defer { client.stop() }
            let query = [HTTPRequest.QueryItem("after", "a b&c=d/é"), .init("empty", "")]
            #expect(
                try client.text(HTTPRequest(.get, "/v1/nodes/é x", query: query, bearer: "abc.DEF-1~+/=="))
                    == "GET /v1/nodes/é x [after=a b&c=d/é&empty=] abc.DEF-1~+/== 0 anonymous")
            let body = [UInt8](repeating: 0x20, count: HTTPLimits.requestBody)
            #expect(
                try client.text(HTTPRequest(.post, "/v1/join", body: body))
                    == "POST /v1/join [] - \(body.count) anonymous")
            for method in HTTPMethod.allCases {
                #expect(try client.text(HTTPRequest(method, "/x")).hasPrefix("\(method.rawValue) /x "))
            }
            #expect(server.server.counters.connectionsAccepted == 1)
        }

        @Test func `a client's SVID reaches the host with each request, and no client needs one`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            let node = try pki.identity("node/a")
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier(), identity: node)
            defer { client.stop() }
            for _ in 0..<2 {
                #expect(try client.text(HTTPRequest(.get, "/x")).hasSuffix("spiffe://test.rap/node/a"))
            }
            #expect(server.record.value.requests.allSatisfy { $0.peer?.chain == node.chain })
            let anonymous = try TestClient(server.endpoint, verifyServer: pki.verifier())
            defer { anonymous.stop() }
            #expect(try anonymous.text(HTTPRequest(.get, "/x")).hasSuffix("anonymous"))
        }

        @Test func `parked requests do not hold up ordinary ones, and are answered from any thread`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            var limits = HTTPClientLimits()
            limits.connections = 1
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier(), limits: limits)
            defer { client.stop() }
            let outcome = Watched<Result<HTTPReply, HTTPClientError>?>(nil)
            client.client.send(HTTPRequest(.get, "/park"), timeout: .seconds(60), lane: .longPoll) { result in
                outcome.change { $0 = result }
            }
            let parked = server.record.wait { $0.parked.count == 1 }.parked[0]
            for _ in 0..<3 { #expect(try client.perform(HTTPRequest(.get, "/x")).status == 200) }
            #expect(outcome.value == nil)
            DispatchQueue.global().async { server.server.reply(parked, HTTPReply(status: 204, body: [])) }
            #expect(try outcome.wait { $0 != nil }?.get().status == 204)
        }

        @Test func `reconnecting loses what is under way, and the next request has a new connection`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier())
            defer { client.stop() }
            #expect(try client.perform(HTTPRequest(.get, "/x")).status == 200)
            let outcome = Watched<Result<HTTPReply, HTTPClientError>?>(nil)
            client.client.send(HTTPRequest(.get, "/park"), timeout: .seconds(60), lane: .longPoll) { result in
                outcome.change { $0 = result }
            }
            server.record.wait { $0.parked.count == 1 }
            client.client.reconnect()
            #expect(outcome.wait { $0 != nil } == .failure(.answerLost))
            #expect(try client.perform(HTTPRequest(.get, "/x")).status == 200)
            client.client.reconnect()
            client.client.reconnect()
            #expect(try client.perform(HTTPRequest(.get, "/x")).status == 200)
        }

        @Test func `two hundred parked requests hold no thread`() throws {
            var limits = HTTPClientLimits()
            limits.longPolls = 200
            limits.waiting = 200
            let server = try TestServer(pki)
            defer { server.stop() }
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier(), limits: limits)
            defer { client.stop() }
            #expect(try client.perform(HTTPRequest(.get, "/x")).status == 200)
            let before = try threadCount()
            let answered = Watched(0)
            for _ in 0..<200 {
                client.client.send(HTTPRequest(.get, "/park"), timeout: .seconds(60), lane: .longPoll) { result in
                    if case .success = result { answered.change { $0 += 1 } }
                }
            }
            let parked = server.record.wait { $0.parked.count == 200 }.parked
            // Some room for the test runner's own threads; one per request would be two hundred.
            #expect(try threadCount() < before + 16)
            for id in parked { server.server.reply(id, HTTPReply(status: 200, body: [])) }
            answered.wait { $0 == 200 }
        }

        private func threadCount() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count
        }

        @Test func `a request that is cancelled or too slow is reported to the host that parked it`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier())
            defer { client.stop() }
            let outcomes = Watched<[HTTPClientError]>([])
            let collect: HTTPCompletion = { result in
                if case .failure(let error) = result { outcomes.change { $0.append(error) } }
            }
            let call = client.client.send(
                HTTPRequest(.get, "/park"), timeout: .seconds(60), lane: .longPoll, completion: collect)
            server.record.wait { $0.parked.count == 1 }
            client.client.cancel(call)
            server.record.wait { $0.closed == $0.parked }
            client.client.send(
                HTTPRequest(.get, "/park"), timeout: .milliseconds(500), lane: .longPoll, completion: collect)
            #expect(outcomes.wait { $0.count == 2 } == [.cancelled, .timedOut])
            server.record.wait { $0.parked.count == 2 && $0.closed == $0.parked }
            // An answer to a request that is gone does nothing.
            let gone = server.record.value.parked[0]
            server.server.reply(gone, HTTPReply(status: 200, body: []))
            #expect(try client.perform(HTTPRequest(.get, "/x")).status == 200)
            #expect(server.server.counters.repliesUndeliverable == 1)
            #expect(server.server.counters.requestsAbandoned == 2)
        }

        @Test func `an abrupt close of a parked request is reported`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            let client = try RawClient(server.endpoint)
            client.send("GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
            server.record.wait { $0.parked.count == 1 }
            client.cut()
            server.record.wait { $0.closed == $0.parked }
            client.stop()
        }

        @Test func `shutdown answers what is parked with 503 and Retry-After, then refuses`() throws {
            let server = try TestServer(pki)
            let parked = try RawClient(server.endpoint)
            let idle = try RawClient(server.endpoint)
            parked.send("GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
            idle.send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            server.record.wait { $0.parked.count == 1 }
            _ = idle.until("anonymous")
            let endpoint = server.endpoint
            server.stop()
            let reply = parked.untilClosed()
            #expect(reply.hasPrefix("HTTP/1.1 503 ") && reply.contains("\r\nretry-after: 2\r\n"))
            #expect(reply.contains("urn:rap:problem:unavailable"))
            #expect(server.record.value.closed == server.record.value.parked)
            #expect(idle.untilClosed().contains("anonymous"))
            parked.stop()
            idle.stop()
            let client = try TestClient(endpoint, verifyServer: pki.verifier())
            defer { client.stop() }
            #expect(client.failure(HTTPRequest(.get, "/x")) == .connectRefused(endpoint))
        }

        @Test func `a host may answer its parked requests itself while the server shuts down`() throws {
            let server = try TestServer(pki)
            let client = try RawClient(server.endpoint)
            client.send("GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
            let id = server.record.wait { $0.parked.count == 1 }.parked[0]
            let done = Watched(false)
            server.server.shutdown(answerWithin: .seconds(60)) { done.change { $0 = true } }
            server.server.reply(id, HTTPReply(status: 204, body: []))
            let reply = client.untilClosed()
            #expect(reply.hasPrefix("HTTP/1.1 204 ") && reply.contains("connection: close"))
            done.wait { $0 }
            client.stop()
            server.loop.shutdown()
        }

        @Test func `a client that is given another SVID uses it for the next connection`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            let client = try TestClient(
                server.endpoint, verifyServer: pki.verifier(), identity: pki.identity("node/old"))
            defer { client.stop() }
            #expect(try client.text(HTTPRequest(.get, "/x")).hasSuffix("/node/old"))
            try client.client.update(verifyServer: pki.verifier(), identity: pki.identity("node/new"))
            #expect(try client.text(HTTPRequest(.get, "/x")).hasSuffix("/node/new"))
            try client.client.update(verifyServer: TestPKI("foreign").verifier(), identity: nil)
            #expect(
                client.failure(HTTPRequest(.get, "/x")) == .serverRefused(.certificate(.untrustedRoot)))
        }

        @Test func `a server that is given another identity presents it to the next connection`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            let client = try TestClient(
                server.endpoint, verifyServer: pki.verifier().requiring(spiffeID: "spiffe://test.rap/second"))
            defer { client.stop() }
            #expect(
                client.failure(HTTPRequest(.get, "/x"))
                    == .serverRefused(
                        .unexpectedIdentity(
                            presented: "spiffe://test.rap/control", expected: "spiffe://test.rap/second")))
            try server.server.update(identity: pki.identity("second"))
            #expect(try client.perform(HTTPRequest(.get, "/x")).status == 200)
        }

        @Test func `a reply beyond the client's limit is an error, and the client goes on`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            var limits = HTTPClientLimits()
            limits.replyBytes = 99_999
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier(), limits: limits)
            defer { client.stop() }
            #expect(client.failure(HTTPRequest(.get, "/large")) == .replyTooLarge(limit: 99_999))
            #expect(try client.perform(HTTPRequest(.get, "/x")).status == 200)
        }

        @Test func `requests beyond the client's limit are refused at once`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            var limits = HTTPClientLimits()
            limits.longPolls = 1
            limits.waiting = 1
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier(), limits: limits)
            defer { client.stop() }
            let refused = Watched<HTTPClientError?>(nil)
            for _ in 0..<3 {
                client.client.send(HTTPRequest(.get, "/park"), timeout: .seconds(60), lane: .longPoll) { result in
                    if case .failure(.tooManyRequests(let limit)) = result {
                        refused.change { $0 = .tooManyRequests(limit: limit) }
                    }
                }
            }
            #expect(refused.wait { $0 != nil } == .tooManyRequests(limit: 1))
        }

        @Test(arguments: ["a\r\nX: y", "", "a b", "é"])
        func `a bearer token that could end its field is not sent`(token: String) throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier())
            defer { client.stop() }
            guard case .badRequest = client.failure(HTTPRequest(.get, "/x", bearer: token)) else {
                Issue.record("the token was sent")
                return
            }
            #expect(server.server.counters.connectionsAccepted == 0)
        }
    }
}
