internal import FabricCore
internal import FabricCrypto
internal import FabricIdentity
internal import FabricLinux
internal import FabricNode
internal import FabricWire
internal import Logging

/// The agent's channel to the control plane: an HTTPS client whose trust the agent sets.
final class ControlClient {
    /// Nil until it is known.
    private var endpoint: Endpoint?
    private var limits = HTTPClientLimits()
    private let logger: Logger
    private let loop = HTTPLoop()
    private var security: ControlChannelSecurity?
    private var client: HTTPSClient?

    init(endpoint: Endpoint?, logger: Logger) {
        self.endpoint = endpoint
        self.logger = logger
    }

    func use(_ endpoint: Endpoint, connectTimeout: Duration) throws {
        self.endpoint = endpoint
        limits.connectTimeout = connectTimeout
        if let client {
            client.update(endpoint: endpoint, connectTimeout: connectTimeout)
        } else if let security {
            try secure(security)
        }
    }

    func secure(_ security: ControlChannelSecurity) throws {
        self.security = security
        guard let endpoint else { return }
        let verifier = ControlClient.verifier(pin: security.controlPin, timeFloor: security.timeFloor)
        let identity =
            security.clientChain.isEmpty ? nil : TLSIdentity(chain: security.clientChain, seed: security.identitySeed)
        if let client {
            try client.update(verifyServer: verifier, identity: identity)
        } else {
            client = try HTTPSClient(
                loop: loop, endpoint: endpoint, verifyServer: verifier, identity: identity, limits: limits,
                logger: logger)
        }
    }

    /// Accepts the control plane whose root has this pin.
    static func verifier(pin: [UInt8], timeFloor: WallTime) -> PeerVerifier {
        PeerVerifier { chain throws(PeerRefusal) in
            do throws(CertificateError) {
                return try ControlPin.verify(
                    chain: chain, pin: pin, time: max(LinuxClock.now().wall, timeFloor), X509Identity(),
                    SystemCryptography())
            } catch {
                throw .certificate(error)
            }
        }
    }

    func send(
        _ request: HTTPRequest, timeout: Duration,
        completion: @escaping @Sendable (Result<HTTPReply, ControlFailure>) -> Void
    ) {
        guard let client else { return completion(.failure(.unreachable)) }
        let lane = request.parameter("wait") == nil ? HTTPClientLane.ordinary : .longPoll
        client.send(request, timeout: timeout, lane: lane) { result in
            completion(result.mapError(ControlFailure.init))
        }
    }

    func reconnect() { client?.reconnect() }

    func shutdown() {
        client?.shutdown {}
        loop.shutdown()
    }
}

extension ControlFailure {
    init(_ error: HTTPClientError) {
        self =
            switch error {
            case .connectRefused, .connectFailed, .badRequest, .tooManyRequests, .cancelled, .shutDown: .unreachable
            case .timedOut: .timedOut
            case .answerLost, .replyTooLarge, .badReply: .answerLost
            case .serverRefused(let refusal): .untrusted(refusal.description)
            case .tlsFailed(let why): .untrusted(why)
            }
    }
}
