import Dispatch
import FabricCore
import FabricIdentity
import FabricWire
import Foundation
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import Testing

@testable import FabricRuntime

/// One network test at a time: they count connections and threads.
@Suite(.serialized) struct HTTPTests {}

/// A root, an issuing authority and leaves, from named seeds.
final class TestPKI: Sendable {
    static let start = WallTime(seconds: 1_800_000_000)
    static let validity = start..<(start + .hours(24))
    /// Where the tests' clocks stand.
    static let now = start + .hours(1)

    let root: [UInt8]
    private let issuing: [UInt8]
    private let issuingSeed: [UInt8]
    private let name: String

    /// Another name is another root.
    init(_ name: String = "main", validity: Range<WallTime> = TestPKI.validity) throws {
        self.name = name
        let identity = X509Identity()
        let rootSeed = Self.seed("\(name) root")
        issuingSeed = Self.seed("\(name) issuing")
        root = try identity.makeRoot(seed: rootSeed, trustDomain: "test.rap", serial: [1, 1], validity: validity)
        issuing = try identity.issueAuthority(
            issuer: root, issuerSeed: rootSeed,
            request: identity.makeRequest(seed: issuingSeed, spiffeID: "spiffe://test.rap"), serial: [1, 2],
            validity: validity)
    }

    static func seed(_ name: String) -> [UInt8] { SeededRandom(seed: 7, stream: name).bytes(32) }

    func identity(_ path: String, validity: Range<WallTime> = TestPKI.validity) throws -> TLSIdentity {
        let identity = X509Identity()
        let seed = Self.seed("\(name) \(path)")
        let spiffeID = "spiffe://test.rap/\(path)"
        let key = try identity.inspectRequest(identity.makeRequest(seed: seed, spiffeID: spiffeID)).publicKey
        let leaf = try identity.issueLeaf(
            issuer: issuing, issuerSeed: issuingSeed, publicKey: key, spiffeID: spiffeID,
            dnsNames: path == "control" ? ["127.0.0.1"] : [], serial: [2, 1], validity: validity)
        return TLSIdentity(chain: [leaf, issuing], seed: seed)
    }

    func verifier(at time: @escaping @Sendable () -> WallTime = { TestPKI.now }) -> PeerVerifier {
        let root = self.root
        return PeerVerifier(X509Identity(), roots: { [root] }, time: time)
    }
}

/// A condition that threads wait for; ten seconds without it fail the test.
final class Watched<Value: Sendable>: Sendable {
    private let box: Mutex<Value>
    private let changed = DispatchSemaphore(value: 0)

    init(_ value: Value) { box = Mutex(value) }

    var value: Value { box.withLock { $0 } }

    func change(_ body: @Sendable (inout Value) -> Void) {
        box.withLock { body(&$0) }
        changed.signal()
    }

    /// One thread at a time may wait.
    @discardableResult
    func wait(_ sourceLocation: SourceLocation = #_sourceLocation, until condition: (Value) -> Bool) -> Value {
        while true {
            let now = value
            if condition(now) { return now }
            guard changed.wait(timeout: .now() + 10) == .success else {
                Issue.record("waited ten seconds in vain; last: \(value)", sourceLocation: sourceLocation)
                return value
            }
        }
    }
}

/// A server whose host answers with what it was asked, and parks `/park`.
final class TestServer: Sendable {
    struct Record: Sendable {
        var requests: [ServerRequest] = []
        var parked: [RequestID] = []
        var closed: [RequestID] = []
    }

    let loop = HTTPLoop()
    let record: Watched<Record>
    let server: HTTPSServer

    init(
        identity: TLSIdentity, verifyClient: PeerVerifier, limits: HTTPServerLimits = HTTPServerLimits()
    ) throws {
        let record = Watched(Record())
        let reply = Watched<(@Sendable (RequestID, HTTPReply) -> Void)?>(nil)
        self.record = record
        let handlers = HTTPServerHandlers(
            onRequest: { request in
                record.change {
                    $0.requests.append(request)
                    if request.request.path == "/park" { $0.parked.append(request.id) }
                }
                if request.request.path != "/park" { reply.value?(request.id, Self.echo(request)) }
            },
            onClosed: { id in record.change { $0.closed.append(id) } })
        let server = try HTTPSServer(
            loop: loop, bind: Endpoint("127.0.0.1:0")!, identity: identity, verifyClient: verifyClient,
            limits: limits, logger: Logger(label: "test"), handlers: handlers)
        self.server = server
        reply.change { $0 = { [unowned server] in server.reply($0, $1) } }
    }

    convenience init(_ pki: TestPKI, limits: HTTPServerLimits = HTTPServerLimits()) throws {
        try self.init(identity: pki.identity("control"), verifyClient: pki.verifier(), limits: limits)
    }

    var endpoint: Endpoint { server.endpoint }

    /// Waits until the counters say so; ten seconds without it fail the test.
    func waitForCounters(
        _ sourceLocation: SourceLocation = #_sourceLocation, until condition: (HTTPServerCounters) -> Bool
    ) {
        for _ in 0..<1000 {
            if condition(server.counters) { return }
            usleep(10_000)
        }
        Issue.record("waited ten seconds in vain; last: \(server.counters)", sourceLocation: sourceLocation)
    }

    func stop() {
        let done = Watched(false)
        server.shutdown(answerWithin: .zero) { done.change { $0 = true } }
        done.wait { $0 }
        loop.shutdown()
    }

    static func echo(_ request: ServerRequest) -> HTTPReply {
        let http = request.request
        if http.path == "/large" { return HTTPReply(status: 200, body: [UInt8](repeating: 32, count: 100_000)) }
        let query = http.query.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
        let text =
            "\(http.method.rawValue) \(http.path) [\(query)] \(http.bearer ?? "-") \(http.body.count) "
            + (request.peer?.facts.spiffeID ?? "anonymous")
        return HTTPReply(status: 200, body: Array(text.utf8))
    }
}

/// An `HTTPSClient` with its loop.
final class TestClient: Sendable {
    let loop = HTTPLoop()
    let client: HTTPSClient

    init(
        _ endpoint: Endpoint, verifyServer: PeerVerifier, identity: TLSIdentity? = nil,
        limits: HTTPClientLimits = HTTPClientLimits()
    ) throws {
        client = try HTTPSClient(
            loop: loop, endpoint: endpoint, verifyServer: verifyServer, identity: identity, limits: limits,
            logger: Logger(label: "test"))
    }

    func perform(_ request: HTTPRequest) throws(HTTPClientError) -> HTTPReply {
        try client.perform(request, timeout: .seconds(10))
    }

    func text(_ request: HTTPRequest) throws -> String { String(decoding: try perform(request).body, as: UTF8.self) }

    /// The error of a request that must fail.
    func failure(_ request: HTTPRequest) -> HTTPClientError? {
        do throws(HTTPClientError) {
            let reply = try perform(request)
            Issue.record("expected no reply, got \(reply.status)")
            return nil
        } catch {
            return error
        }
    }

    func stop() {
        let done = Watched(false)
        client.shutdown { done.change { $0 = true } }
        done.wait { $0 }
        loop.shutdown()
    }
}

/// TLS around whatever bytes a test wants to send.
final class RawClient: Sendable {
    struct Incoming: Sendable {
        var bytes: [UInt8] = []
        var isClosed = false
    }

    let incoming = Watched(Incoming())
    private let loop = HTTPLoop()
    private let channel: any Channel

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        let incoming: Watched<Incoming>

        init(_ incoming: Watched<Incoming>) { self.incoming = incoming }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = Array(unwrapInboundIn(data).readableBytesView)
            incoming.change { $0.bytes += bytes }
        }

        func channelInactive(context: ChannelHandlerContext) { incoming.change { $0.isClosed = true } }
        func errorCaught(context: ChannelHandlerContext, error: any Error) {}
    }

    init(_ endpoint: Endpoint, identity: TLSIdentity? = nil) throws {
        let tls = try TLSContexts.client(identity)
        let incoming = self.incoming
        channel = try ClientBootstrap(group: loop.eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        NIOSSLClientHandler(
                            context: tls, serverHostname: nil,
                            customVerificationCallback: { _, promise in promise.succeed(.certificateVerified) }),
                        Collector(incoming))
                }
            }
            .connect(to: SocketAddress(endpoint)).wait()
    }

    /// Bytes that can't be sent any more are nobody's loss here.
    func send(_ bytes: some Sequence<UInt8>) {
        channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// Waits until the bytes have left, or can't.
    func sendAndWait(_ bytes: [UInt8]) -> Bool {
        (try? channel.writeAndFlush(ByteBuffer(bytes: bytes)).wait()) != nil
    }

    var text: String { String(decoding: incoming.value.bytes, as: UTF8.self) }

    /// All that comes until the server closes.
    func untilClosed(_ sourceLocation: SourceLocation = #_sourceLocation) -> String {
        String(decoding: incoming.wait(sourceLocation) { $0.isClosed }.bytes, as: UTF8.self)
    }

    func until(_ part: String, _ sourceLocation: SourceLocation = #_sourceLocation) -> String {
        String(
            decoding: incoming.wait(sourceLocation) { String(decoding: $0.bytes, as: UTF8.self).contains(part) }.bytes,
            as: UTF8.self)
    }

    /// Without a close_notify, as when a machine dies.
    func cut() {
        channel.pipeline.context(handlerType: NIOSSLClientHandler.self).whenSuccess { $0.close(promise: nil) }
    }

    func stopReading() { _ = channel.setOption(.autoRead, value: false) }

    func stop() {
        channel.close(promise: nil)
        incoming.wait { $0.isClosed }
        loop.shutdown()
    }
}

/// Removed with its last reference.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "/rap-http-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Runs a program of the system to its end.
func run(_ program: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
}

func pem(_ label: String, _ der: [UInt8]) -> String {
    "-----BEGIN \(label)-----\n" + Data(der).base64EncodedString(options: .lineLength64Characters)
        + "\n-----END \(label)-----\n"
}
