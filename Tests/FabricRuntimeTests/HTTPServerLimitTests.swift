import FabricCore
import FabricWire
import Foundation
import Testing

@testable import FabricRuntime

extension HTTPTests {
    /// What strangers may do to the server before it knows who they are.
    @Suite struct Limits {
        let pki: TestPKI

        init() throws { pki = try TestPKI() }

        private func withServer(
            _ limits: HTTPServerLimits = HTTPServerLimits(), _ body: (TestServer, RawClient) throws -> Void
        ) throws {
            let server = try TestServer(pki, limits: limits)
            defer { server.stop() }
            let client = try RawClient(server.endpoint)
            defer { client.stop() }
            try body(server, client)
        }

        private func limits(_ change: (inout HTTPServerLimits) -> Void) -> HTTPServerLimits {
            var limits = HTTPServerLimits()
            change(&limits)
            return limits
        }

        /// Whatever a test did to it, the server still serves others.
        private func expectAlive(_ server: TestServer) throws {
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier())
            defer { client.stop() }
            #expect(try client.perform(HTTPRequest(.get, "/alive")).status == 200)
        }

        private func expectRefusal(_ reply: String, _ status: Int, _ code: String) {
            #expect(reply.hasPrefix("HTTP/1.1 \(status) "), "\(reply)")
            #expect(reply.contains("content-type: application/problem+json\r\n"))
            #expect(reply.contains("connection: close\r\n"))
            #expect(reply.contains("urn:rap:problem:\(code)"))
        }

        @Test(arguments: [
            ("GARBAGE\r\n\r\n", 400), ("\u{0}\u{1}\u{2}", 400), ("GET /x HTTP/9.9\r\n\r\n", 400),
            ("GET /x HTTP/1.1\r\n\r\n", 400), ("GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("GET /x HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400),
            ("GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400), ("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n", 400), ("GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /%2e%2E/b HTTP/1.1\r\nHost: x\r\n\r\n", 400), ("GET /a%2Fb HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400), ("GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /x?a=%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
            ("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
            ("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 400),
            ("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            ("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
            ("GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 400),
            ("GET /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a b\r\n\r\n", 400),
            ("OPTIONS /x HTTP/1.1\r\nHost: x\r\n\r\n", 405), ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
            ("POST /x HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\na", 415),
            ("POST /x HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na", 415),
            ("POST /x HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\na", 417),
        ])
        func `bad HTTP is refused with its status and the connection ends`(request: String, status: Int) throws {
            try withServer { server, client in
                client.send(request)
                let reply = client.untilClosed()
                #expect(reply.hasPrefix("HTTP/1.1 \(status) "), "\(reply)")
                #expect(reply.contains("content-type: application/problem+json\r\n"))
                #expect(server.record.value.requests.isEmpty)
                #expect(server.server.counters.refusals == 1)
            }
        }

        @Test func `a body announced as too large is refused before it is sent`() throws {
            try withServer { server, client in
                client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\nExpect: 100-continue\r\n\r\n")
                expectRefusal(client.untilClosed(), 413, "too-large")
                #expect(server.record.value.requests.isEmpty)
            }
        }

        @Test func `an endless body is cut off, and the client that reads gets its 413`() throws {
            try withServer { server, client in
                client.send("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
                let chunk = Array("4000\r\n".utf8) + [UInt8](repeating: 0x61, count: 0x4000) + Array("\r\n".utf8)
                // Ends by itself only if the server closes.
                while client.sendAndWait(chunk) {}
                expectRefusal(client.untilClosed(), 413, "too-large")
                #expect(server.record.value.requests.isEmpty)
                try expectAlive(server)
            }
        }

        @Test func `endless framing around no body is cut off`() throws {
            try withServer { server, client in
                client.send("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1")
                let noise = Array(";x=y".utf8) + [UInt8](repeating: 0x79, count: 0x4000)
                while client.sendAndWait(noise) {}
                #expect(client.untilClosed().hasPrefix("HTTP/1.1 4"))
                try expectAlive(server)
            }
        }

        @Test(arguments: [
            "X: " + String(repeating: "x", count: 17_000) + "\r\n\r\n",
            String(repeating: "X: y\r\n", count: 65) + "\r\n",
            String(repeating: "X: " + String(repeating: "y", count: 1000) + "\r\n", count: 17) + "\r\n",
        ])
        func `a header beyond its limits is 431`(fields: String) throws {
            try withServer { server, client in
                client.send("GET /x HTTP/1.1\r\nHost: x\r\n" + fields)
                expectRefusal(client.untilClosed(), 431, "too-large")
                try expectAlive(server)
            }
        }

        @Test(arguments: ["\r\n", "GET /" + String(repeating: "x", count: 4096)])
        func `an endless start of a request is cut off`(part: String) throws {
            try withServer { server, client in
                let bytes = Array(String(repeating: part, count: 16_384 / part.utf8.count).utf8)
                while client.sendAndWait(bytes) {}
                #expect(client.untilClosed().hasPrefix("HTTP/1.1 4"))
                try expectAlive(server)
            }
        }

        @Test func `more query parameters than the limit are refused`() throws {
            try withServer { _, client in
                client.send("GET /x?\(String(repeating: "a=b&", count: 33)) HTTP/1.1\r\nHost: x\r\n\r\n")
                expectRefusal(client.untilClosed(), 400, "malformed-request")
            }
        }

        @Test func `a header that never ends in time is 408, a connection that says nothing just ends`() throws {
            try withServer(limits { $0.headTimeout = .milliseconds(300) }) { server, client in
                let silent = try RawClient(server.endpoint)
                client.send("GET /x HTTP/1.1\r\nHo")
                expectRefusal(client.untilClosed(), 408, "malformed-request")
                #expect(silent.untilClosed() == "")
                server.waitForCounters { $0.connectionsTimedOut == 1 }
                silent.stop()
            }
        }

        @Test func `a body that never ends in time is 408`() throws {
            try withServer(limits { $0.bodyTimeout = .milliseconds(300) }) { _, client in
                client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
                expectRefusal(client.untilClosed(), 408, "malformed-request")
            }
        }

        @Test func `an idle connection is closed`() throws {
            try withServer(limits { $0.idleTimeout = .milliseconds(300) }) { server, client in
                client.send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(client.untilClosed().hasPrefix("HTTP/1.1 200 "))
                #expect(server.server.counters.connectionsTimedOut == 1)
            }
        }

        @Test func `a request that the host leaves unanswered is 503, and the host is told`() throws {
            try withServer(limits { $0.replyTimeout = .milliseconds(300) }) { server, client in
                client.send("GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
                expectRefusal(client.untilClosed(), 503, "unavailable")
                #expect(server.record.value.closed == server.record.value.parked)
            }
        }

        @Test func `a client that takes no reply is cut`() throws {
            try withServer(limits { $0.writeTimeout = .milliseconds(300) }) { server, client in
                client.send("GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
                let id = server.record.wait { $0.parked.count == 1 }.parked[0]
                client.stopReading()
                server.server.reply(id, HTTPReply(status: 200, body: [UInt8](repeating: 0, count: 32 << 20)))
                server.waitForCounters { $0.connectionsTimedOut == 1 }
                client.cut()
            }
        }

        @Test func `pipelined requests are not read: the first is answered, then the connection ends`() throws {
            try withServer { server, client in
                client.send(String(repeating: "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", count: 3))
                let reply = client.untilClosed()
                #expect(reply.components(separatedBy: "HTTP/1.1 200 OK").count == 2)
                #expect(reply.contains("connection: close\r\n"))
                #expect(server.record.value.requests.count == 1)
            }
        }

        @Test func `garbage behind a parked request does not answer it`() throws {
            try withServer { server, client in
                client.send("GET /park HTTP/1.1\r\nHost: x\r\n\r\n\u{0}\u{0}garbage\r\n\r\n")
                let id = server.record.wait { $0.parked.count == 1 }.parked[0]
                client.send("more garbage")
                server.server.reply(id, HTTPReply(status: 200, body: Array("parked".utf8)))
                let reply = client.untilClosed()
                #expect(reply.hasPrefix("HTTP/1.1 200 ") && reply.hasSuffix("parked"))
            }
        }

        @Test func `endless bytes behind a parked request cut the connection`() throws {
            try withServer { server, client in
                client.send("GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
                server.record.wait { $0.parked.count == 1 }
                while client.sendAndWait([UInt8](repeating: 0, count: 16_384)) {}
                #expect(client.untilClosed() == "")
                #expect(server.record.wait { !$0.closed.isEmpty }.closed == server.record.value.parked)
            }
        }

        @Test func `the last request that a connection may carry closes it`() throws {
            try withServer(limits { $0.requestsPerConnection = 2 }) { server, client in
                client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(!client.until("/1 ").contains("connection: close"))
                client.send("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(client.untilClosed().contains("connection: close"))
                #expect(server.record.value.requests.count == 2)
            }
        }

        @Test(arguments: ["GET /x HTTP/1.0\r\n\r\n", "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
        func `a client that wants its connection closed gets that`(request: String) throws {
            try withServer { _, client in
                client.send(request)
                let reply = client.untilClosed()
                #expect(reply.hasPrefix("HTTP/1.1 200 ") && reply.contains("connection: close\r\n"))
            }
        }

        @Test func `an expected 100 comes before the body is read`() throws {
            try withServer { _, client in
                client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
                #expect(client.until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n")
                client.send("{}")
                #expect(client.until("anonymous").contains("POST /x [] - 2 "))
            }
        }

        @Test func `connections are fewer than the files that the process may open`() {
            #expect(HTTPServerLimits().within(openFiles: 1024).connections == 896)
            #expect(HTTPServerLimits().within(openFiles: 1_000_000).connections == 12_000)
            #expect(HTTPServerLimits().within(openFiles: 64).connections == 16)
        }

        @Test(arguments: [true, false])
        func `a connection beyond the limit is closed, and there is room again when one ends`(inAll: Bool) throws {
            let few = limits { if inAll { $0.connections = 2 } else { $0.connectionsPerAddress = 2 } }
            try withServer(few) { server, first in
                let second = try RawClient(server.endpoint)
                first.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
                second.send("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
                _ = first.until("/1 ")
                _ = second.until("/2 ")
                let third = try RawClient(server.endpoint)
                #expect(third.untilClosed() == "")
                #expect(server.server.counters.connectionsOverLimit == 1)
                third.stop()
                second.stop()
                try expectAlive(server)
            }
        }

        @Test func `bodies beyond what all connections may hold are refused until others are done`() throws {
            try withServer(limits { $0.bodyBytesInAll = 100_000 }) { server, first in
                let head = "POST /park HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
                first.send(head)
                first.send([UInt8](repeating: 0x20, count: 60_000))
                let id = server.record.wait { $0.parked.count == 1 }.parked[0]
                let second = try RawClient(server.endpoint)
                second.send(head)
                second.send([UInt8](repeating: 0x20, count: 60_000))
                expectRefusal(second.untilClosed(), 503, "unavailable")
                second.stop()
                server.server.reply(id, HTTPReply(status: 200, body: Array("done".utf8)))
                _ = first.until("done")
                let third = try RawClient(server.endpoint)
                third.send(head)
                third.send([UInt8](repeating: 0x20, count: 60_000))
                server.record.wait { $0.parked.count == 2 }
                third.cut()
                third.stop()
            }
        }

        @Test func `mutated requests neither stop the server nor reach the host in pieces`() throws {
            let random = SeededRandom(seed: 11, stream: "requests")
            let server = try TestServer(pki)
            defer { server.stop() }
            let model = Array(
                "POST /v1/x?a=b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n"
                    .utf8)
            for _ in 0..<150 {
                var bytes = model
                for _ in 0...random.below(4) {
                    let index = Int(random.below(UInt64(bytes.count)))
                    switch random.below(3) {
                    case 0: bytes[index] = UInt8(random.below(256))
                    case 1: bytes.remove(at: index)
                    default: bytes.insert(contentsOf: bytes[index...].prefix(Int(random.below(9))), at: index)
                    }
                }
                let client = try RawClient(server.endpoint)
                client.send(bytes)
                client.stop()
            }
            try expectAlive(server)
        }
    }
}
