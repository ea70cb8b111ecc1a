import FabricCore
import FabricWire
import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import Testing

@testable import FabricRuntime

extension HTTPTests {
    @Suite struct TLS {
        let pki: TestPKI
        let past = TestPKI.start..<(TestPKI.start + .minutes(10))

        init() throws { pki = try TestPKI() }

        @Test func `a server under another root is refused before anything is sent`() throws {
            let server = try TestServer(TestPKI("foreign"))
            defer { server.stop() }
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier())
            defer { client.stop() }
            #expect(client.failure(HTTPRequest(.get, "/x")) == .serverRefused(.certificate(.untrustedRoot)))
            #expect(server.record.value.requests.isEmpty)
        }

        @Test func `a server whose certificate has expired is refused`() throws {
            let server = try TestServer(
                identity: pki.identity("control", validity: past), verifyClient: pki.verifier())
            defer { server.stop() }
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier())
            defer { client.stop() }
            #expect(
                client.failure(HTTPRequest(.get, "/x"))
                    == .serverRefused(.certificate(.expired(past.upperBound))))
        }

        enum BadClient: CaseIterable { case foreignRoot, expired, leafAlone }

        @Test(arguments: BadClient.allCases)
        func `a client chain that does not verify fails the handshake, and no request arrives`(bad: BadClient) throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            let identity: TLSIdentity =
                switch bad {
                case .foreignRoot: try TestPKI("foreign").identity("node/a")
                case .expired: try pki.identity("node/a", validity: past)
                case .leafAlone:
                    TLSIdentity(
                        chain: [try pki.identity("node/a").chain[0]], seed: try pki.identity("node/a").seed)
                }
            let client = try TestClient(server.endpoint, verifyServer: pki.verifier(), identity: identity)
            defer { client.stop() }
            // The server's alert and its reset race each other to a client that sends at once.
            switch client.failure(HTTPRequest(.get, "/x")) {
            case .tlsFailed(let reason): #expect(!reason.contains(".cc:"))
            case .answerLost: break
            case let other: Issue.record("\(String(describing: other))")
            }
            server.waitForCounters { $0.handshakesFailed >= 1 }
            #expect(server.record.value.requests.isEmpty)
        }

        @Test func `another node's certificate is of no use without its key`() throws {
            let mine = try pki.identity("node/a")
            let other = try pki.identity("node/b")
            let stolen = TLSIdentity(chain: other.chain, seed: mine.seed)
            #expect(throws: TLSIdentityError.self) { try TLSContexts.client(stolen) }
            #expect(throws: TLSIdentityError.self) { try TLSContexts.server(stolen) }
        }

        @Test func `an identity without a certificate or with a short seed is refused`() throws {
            let seed = TestPKI.seed("x")
            #expect(throws: TLSIdentityError.noCertificate) {
                try TLSContexts.server(TLSIdentity(chain: [], seed: seed))
            }
            #expect(throws: TLSIdentityError.seedLength(31)) {
                try TLSContexts.server(TLSIdentity(chain: [self.pki.root], seed: Array(seed.dropLast())))
            }
            #expect(throws: TLSIdentityError.self) {
                try TLSContexts.server(TLSIdentity(chain: [[1, 2, 3]], seed: seed))
            }
        }

        @Test func `a connection does not outlive the certificate that opened it`() throws {
            let clock = Watched(TestPKI.now)
            let server = try TestServer(
                identity: pki.identity("control"), verifyClient: pki.verifier(at: { clock.value }))
            defer { server.stop() }
            let client = try TestClient(
                server.endpoint, verifyServer: pki.verifier(), identity: pki.identity("node/a"))
            defer { client.stop() }
            #expect(try client.perform(HTTPRequest(.get, "/x")).status == 200)
            clock.change { $0 = TestPKI.validity.upperBound }
            let reply = try client.perform(HTTPRequest(.get, "/x"))
            #expect(reply.status == 401 && reply.contentType == HTTPReply.problemJSON)
            #expect(server.record.value.requests.count == 1)
        }

        @Test func `the verifier refuses a chain of more certificates than it reads`() {
            let verifier = PeerVerifier { _ throws(PeerRefusal) in
                throw .certificate(.malformed("the chain was read"))
            }
            #expect(throws: PeerRefusal.chainTooLong(7)) { try verifier.verify(Array(repeating: [], count: 7)) }
        }

        @Test func `a seed becomes the PKCS#8 that RFC 8410 shows`() {
            // RFC 8410 section 10.3, the private key without attributes.
            let seed = Hex.decode("d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842")!
            let expected = Data(
                base64Encoded: "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC")!
            #expect(TLSIdentity(chain: [], seed: seed).pkcs8 == Array(expected))
        }

        @Test func `a server that does not speak TLS is named as such`() throws {
            let loop = HTTPLoop()
            defer { loop.shutdown() }
            let listener = try ServerBootstrap(group: loop.eventLoop)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            ScriptedHandler(["HTTP/1.1 400 Bad Request\r\n\r\n"], Watched(0)))
                    }
                }
                .bind(host: "127.0.0.1", port: 0).wait()
            let client = try TestClient(try #require(listener.localAddress?.endpoint), verifyServer: pki.verifier())
            defer { client.stop() }
            #expect(client.failure(HTTPRequest(.get, "/x")) == .tlsFailed("WRONG_VERSION_NUMBER"))
        }
    }

    /// Replies with `replies`, one to a request; when a connection's are used up, the next request closes it.
    fileprivate final class ScriptedHandler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private var replies: ArraySlice<String>
        private let seen: Watched<Int>

        init(_ replies: [String], _ seen: Watched<Int>) {
            self.replies = replies[...]
            self.seen = seen
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            seen.change { $0 += 1 }
            guard let reply = replies.popFirst() else { return context.close(promise: nil) }
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: reply)), promise: nil)
        }
    }

    @Suite struct Client {
        static let fine = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

        /// Runs `body` against a TLS server that gives each connection `replies`.
        private func withScript(
            _ replies: [String], _ body: (TestClient, Watched<Int>) throws -> Void
        ) throws {
            let pki = try TestPKI()
            let loop = HTTPLoop()
            defer { loop.shutdown() }
            let tls = try TLSContexts.server(pki.identity("control"))
            let seen = Watched(0)
            let listener = try ServerBootstrap(group: loop.eventLoop)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandlers(
                            NIOSSLServerHandler(context: tls), ScriptedHandler(replies, seen))
                    }
                }
                .bind(host: "127.0.0.1", port: 0).wait()
            let client = try TestClient(try #require(listener.localAddress?.endpoint), verifyServer: pki.verifier())
            defer { client.stop() }
            try body(client, seen)
        }

        private func expectOK(_ client: TestClient, _ path: String) throws {
            let text = try client.text(HTTPRequest(.get, path))
            #expect(text == "ok")
        }

        @Test func `an idempotent request that meets a closing connection is sent again on a new one`() throws {
            try withScript([Self.fine]) { client, seen in
                try expectOK(client, "/1")
                try expectOK(client, "/2")
                #expect(seen.value == 3)
            }
        }

        @Test func `a POST that meets a closing connection is not sent again: its answer is lost`() throws {
            try withScript([Self.fine]) { client, seen in
                try expectOK(client, "/1")
                #expect(client.failure(HTTPRequest(.post, "/2")) == .answerLost)
                #expect(seen.value == 2)
            }
        }

        @Test func `a new connection that closes without a reply loses the answer, for every method`() throws {
            try withScript([]) { client, seen in
                #expect(client.failure(HTTPRequest(.get, "/1")) == .answerLost)
                #expect(client.failure(HTTPRequest(.post, "/2")) == .answerLost)
                #expect(seen.value == 2)
            }
        }

        @Test(arguments: [
            "HTTP/1.1 200 OK\r\n\r\nno length", "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nx: " + String(repeating: "x", count: 17_000) + "\r\n\r\n.",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        ])
        func `a reply that is not HTTP of known length is a bad reply`(reply: String) throws {
            try withScript([reply]) { client, _ in
                guard case .badReply = client.failure(HTTPRequest(.get, "/1")) else {
                    Issue.record("not a bad reply")
                    return
                }
            }
        }

        @Test func `an endless reply is cut at the limit`() throws {
            let chunk = "ffff\r\n" + String(repeating: "x", count: 0xFFFF) + "\r\n"
            let reply =
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + String(repeating: chunk, count: 80)
            try withScript([reply]) { client, _ in
                #expect(
                    client.failure(HTTPRequest(.get, "/1")) == .replyTooLarge(limit: HTTPLimits.replyBody))
            }
        }

        @Test func `what a server says unasked ends the connection and harms no request`() throws {
            try withScript([Self.fine + Self.fine]) { client, _ in
                for _ in 0..<3 { try expectOK(client, "/1") }
            }
        }
    }
}
