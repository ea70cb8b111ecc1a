import FabricControl
import FabricCore
import FabricCrypto
import FabricIdentity
import FabricOperator
import FabricRuntime
import FabricWire
import Foundation
import Logging
import Testing

/// A control plane on loopback with a directory of its own, running on a thread of its own.
private final class LiveControl {
    let directory: String
    let contextFile: String
    let endpoint: Endpoint
    private let stop: @Sendable () -> Void
    private let ended = DispatchSemaphore(value: 0)

    /// Handed to the thread that runs it, and not touched here again.
    private struct Handed: @unchecked Sendable { let host: ControlHost }

    init() throws {
        directory = FileManager.default.temporaryDirectory.path + "/rap-control-\(UUID().uuidString)"
        contextFile = directory + "/operator.json"
        var (installation, context) = try ControlInstallation.initialise(
            directory + "/state", endpoint: .address(Endpoint("127.0.0.1:1")!), operatorFile: contextFile)
        let host = try ControlHost(
            installation,
            settings: ControlHostSettings(
                listen: Endpoint("127.0.0.1:0")!,
                control: ControlSettings(adminTokenHash: try installation.adminTokenHash())),
            logger: quiet)
        endpoint = host.endpoint
        context.endpoint = .address(endpoint)
        try context.save(contextFile)
        stop = host.stopper
        let handed = Handed(host: host)
        Thread.detachNewThread { [ended] in
            try? handed.host.run()
            ended.signal()
        }
    }

    func session() throws -> OperatorSession { try OperatorSession(contextFile: contextFile, logger: quiet) }

    /// Waits for the host's end.
    func end() {
        stop()
        ended.wait()
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// The chain and key of a node of `cluster`, issued under the root of `seed`.
    static func nodeIdentity(_ cluster: ClusterID, rootSeed: [UInt8], root: [UInt8], now: WallTime) throws
        -> TLSIdentity
    {
        let certificates = X509Identity()
        let (issuingSeed, nodeSeed) = (KernelRandom().bytes(32), KernelRandom().bytes(32))
        let validity = now - .seconds(60)..<now + .seconds(600)
        let serial = [0x41] + [UInt8](repeating: 7, count: 15)
        let authority = try certificates.issueAuthority(
            issuer: root, issuerSeed: rootSeed,
            request: certificates.makeRequest(seed: issuingSeed, spiffeID: FabricIdentifier.authority(cluster)),
            serial: serial, validity: validity)
        let key = try SystemCryptography().ed25519PublicKey(seed: nodeSeed)
        let node = FabricIdentifier.nodeID(identityKey: key, SystemCryptography())
        let leaf = try certificates.issueLeaf(
            issuer: authority, issuerSeed: issuingSeed, publicKey: key,
            spiffeID: FabricIdentifier.node(node, in: cluster), dnsNames: [], serial: serial, validity: validity)
        return TLSIdentity(chain: [leaf, authority], seed: nodeSeed)
    }

    func send(_ request: HTTPRequest, as identity: TLSIdentity) throws -> Result<HTTPReply, HTTPClientError> {
        let loop = HTTPLoop()
        defer { loop.shutdown() }
        // Who the server is, is not what is asked here.
        let anyone = PeerVerifier { chain throws(PeerRefusal) in
            do throws(CertificateError) {
                return try X509Identity().inspect(chain[0])
            } catch {
                throw .certificate(error)
            }
        }
        let client = try HTTPSClient(
            loop: loop, endpoint: endpoint, verifyServer: anyone, identity: identity, limits: HTTPClientLimits(),
            logger: quiet)
        defer { client.shutdown {} }
        return Result { () throws(HTTPClientError) in try client.perform(request, timeout: .seconds(30)) }
    }
}

private let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
private let dev = ClusterID("dev")!

struct `A control plane's Linux host` {
    @Test func `is found by a name, whose addresses are tried in turn`() throws {
        let control = try LiveControl()
        defer { control.end() }
        var context = try OperatorContext.load(control.contextFile)
        // Where IPv6 is, the name means ::1 as well, and nobody listens there.
        context.endpoint = .name(HostName("localhost")!, port: control.endpoint.port)
        try context.save(control.contextFile)
        #expect(try OperatorContext.load(control.contextFile) == context)
        let session = try control.session()
        #expect(try session.createCluster(dev, name: "dev", peerDegree: 4).status == "active")
        context.endpoint = .name(HostName("no-such-host.invalid")!, port: control.endpoint.port)
        try context.save(control.contextFile)
        #expect(throws: OperatorSessionError.self) { try control.session() }
    }

    @Test func `serves an operator who makes a cluster and a token, and finds both again`() throws {
        let control = try LiveControl()
        defer { control.end() }
        let session = try control.session()
        #expect(try session.createCluster(dev, name: "dev", peerDegree: 4).status == "active")
        let events = try session.all { session.calls.audit(dev, $0) }
        #expect(try session.createCluster(dev, name: "dev", peerDegree: 4).status == "active")
        #expect(try session.all { session.calls.audit(dev, $0) } == events, "asking again changes nothing")
        let (token, view) = try session.createToken(
            in: dev, name: "hosts", uses: 2, lifetime: .hours(1), scope: ControlAPI.TokenScope(domains: [.fabric]))
        #expect(token.controlPin == session.context.controlPin.bytes)
        #expect(try session.all { session.calls.tokens(dev, $0) } == [view])
        var trail = try session.all { session.calls.audit(dev, $0) }
        #expect(session.brokenLink(in: trail, of: dev, previous: ControlAPI.AuditEvent.firstPrevious) == nil)
        trail[1].detail += "!"
        #expect(session.brokenLink(in: trail, of: dev, previous: nil)?.sequence == 2)
    }

    @Test func `refuses an operator without the token, and one with another pin is warned`() throws {
        let control = try LiveControl()
        defer { control.end() }
        var context = try OperatorContext.load(control.contextFile)
        let right = context
        context.adminToken += "x"
        try context.save(control.contextFile)
        let unknown = try control.session()
        #expect(throws: OperatorCallError.self) { try unknown.perform(unknown.calls.clusters()) }
        context = right
        context.controlPin.bytes[0] ^= 1
        try context.save(control.contextFile)
        let misled = try control.session()
        let warning = HTTPClientError.serverRefused(.certificate(.untrustedRoot))
        #expect(throws: warning) { try misled.perform(misled.calls.clusters()) }
    }

    @Test func `fails a handshake whose chain is not under the root of the cluster that it names`() throws {
        let control = try LiveControl()
        defer { control.end() }
        let session = try control.session()
        _ = try session.createCluster(dev, name: "dev", peerDegree: 4)
        let keys = try session.loadCluster(dev)
        let heartbeat = HTTPRequest(.post, "/v1/node/heartbeat", body: Array("{}".utf8))
        // Under the right root the request arrives, and it is the membership that is missing.
        let member = try LiveControl.nodeIdentity(
            dev, rootSeed: keys.rootSeed.bytes, root: keys.rootCertificate.bytes, now: session.now)
        #expect(try control.send(heartbeat, as: member).get().status == 403)
        // A root of one's own for the same cluster, and one for a cluster that does not exist.
        for name in ["dev", "other"] {
            let cluster = ClusterID(name)!
            let forged = try session.operator.makeCluster(cluster, random: KernelRandom(), now: session.now)
            let stranger = try LiveControl.nodeIdentity(
                cluster, rootSeed: forged.rootSeed.bytes, root: forged.rootCertificate.bytes, now: session.now)
            for request in [heartbeat, HTTPRequest(.get, "/v1/health")] {
                let outcome = try control.send(request, as: stranger)
                #expect(throws: HTTPClientError.self) { try outcome.get() }
            }
        }
    }

    @Test func `is initialised once, and its token's text stands in the operator's file alone`() throws {
        let control = try LiveControl()
        defer { control.end() }
        let token = try OperatorContext.load(control.contextFile).adminToken
        #expect(throws: (any Error).self) {
            _ = try ControlInstallation.initialise(
                control.directory + "/state", endpoint: .address(control.endpoint),
                operatorFile: control.directory + "/second")
        }
        let state = control.directory + "/state"
        for name in try FileManager.default.subpathsOfDirectory(atPath: state) {
            guard let contents = FileManager.default.contents(atPath: state + "/" + name) else { continue }
            #expect(contents.range(of: Data(token.utf8)) == nil, "\(name)")
        }
    }
}

struct `A file of secrets` {
    @Test func `is 0600 and refused when others can reach it`() throws {
        let directory = FileManager.default.temporaryDirectory.path + "/rap-secret-\(UUID().uuidString)"
        let path = directory + "/deep/file"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        #expect(try SecretFile.read(path) == nil)
        try SecretFile.write(path, [1])
        try SecretFile.write(path, [2, 3])
        #expect(try SecretFile.read(path) == [2, 3])
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory + "/deep") == ["file"])
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        #expect(throws: SecretFileError.self) { try SecretFile.read(path) }
    }
}

@Test(arguments: [
    ("45s", Duration.seconds(45)), ("15m", .seconds(900)), ("1h", .seconds(3600)), ("7d", .seconds(604_800)),
    ("0s", .zero), ("", nil), ("s", nil), ("5", nil), ("-5s", nil), ("1.5h", nil), ("5 m", nil),
    ("99999999999999999999s", nil), ("9223372036854775807d", nil),
])
func `a duration's text is a whole number and a unit`(text: String, expected: Duration?) {
    #expect(Duration(text: text) == expected)
}
