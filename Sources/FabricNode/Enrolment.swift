internal import FabricCore
internal import FabricDocument
internal import FabricWire

/// The way from a join token to a grant. Every stage is one request that may be repeated at will: the control plane is
/// idempotent on (token, identity key), so a lost answer costs nothing.
///
/// ```
/// posting --challenge--> proving --accepted--> polling --approved--> granted
///    ^                      |                     |
///    +------ 404: the control plane has forgotten +
/// ```
struct Enrolment {
    private enum Stage {
        case posting
        case proving(ControlAPI.Challenge)
        case polling(JoinRequestID)
    }

    enum Outcome {
        /// Make the next request now.
        case proceed
        /// The request stands and waits for a person. When that is news, make the next request now, which the control plane
        /// holds; otherwise after a pause.
        case awaitingApproval(isNews: Bool)
        case granted(ControlAPI.Grant)
        /// Not now; make the same request later.
        case retry(String)
        case refused(Problem.Code, String)
    }

    /// How long the control plane is asked to hold an undecided request. A control plane that lost its power says nothing of
    /// it, so this is also how long a new one may stay unnoticed.
    static let pollWait = Duration.seconds(15)

    private var stage = Stage.posting
    private let token: JoinToken
    private let newEnrolment: ControlAPI.NewEnrolment
    private let tunnelKeys: [IdentityState.DomainKey]
    private let cryptography: any Cryptography

    init(
        token: JoinToken, newEnrolment: ControlAPI.NewEnrolment, tunnelKeys: [IdentityState.DomainKey],
        cryptography: any Cryptography
    ) {
        self.token = token
        self.newEnrolment = newEnrolment
        self.tunnelKeys = tunnelKeys
        self.cryptography = cryptography
    }

    func nextRequest() -> (HTTPRequest, timeout: Duration) {
        switch stage {
        case .posting:
            return (post("/v1/enrolments", newEnrolment), .seconds(10))
        case .proving(let challenge):
            let proofs = tunnelKeys.map { key in
                ControlAPI.Proof.DomainProof(domain: key.domain, mac: Blob(proof(of: key, challenge)))
            }
            return (post("/v1/enrolments/\(challenge.request)/proof", ControlAPI.Proof(proofs: proofs)), .seconds(10))
        case .polling(let request):
            let wait = HTTPRequest.QueryItem("wait", "\(Self.pollWait.components.seconds)")
            return (
                HTTPRequest(.get, "/v1/enrolments/\(request)", query: [wait], bearer: token.bearer),
                Self.pollWait + .seconds(10)
            )
        }
    }

    private func post(_ path: String, _ body: some Encodable) -> HTTPRequest {
        HTTPRequest(.post, path, bearer: token.bearer, body: JSON.encodeOwn(body))
    }

    /// A challenge key of low order gives an all-zero MAC, which the control plane refuses.
    private func proof(of key: IdentityState.DomainKey, _ challenge: ControlAPI.Challenge) -> [UInt8] {
        guard
            let shared = try? cryptography.x25519(
                privateKey: key.privateKey.bytes, publicKey: challenge.challengeKey.bytes),
            let publicKey = try? cryptography.x25519PublicKey(privateKey: key.privateKey.bytes)
        else { return [UInt8](repeating: 0, count: 32) }
        let message = ControlAPI.Proof.message(request: challenge.request, domain: key.domain, publicKey: publicKey)
        return cryptography.hmacSHA256(key: shared, message)
    }

    mutating func handle(_ reply: HTTPReply) -> Outcome {
        guard reply.isSuccess else { return handleRefusal(reply) }
        do {
            switch stage {
            case .posting:
                stage = .proving(try JSON.decode(ControlAPI.Challenge.self, from: reply.body))
                return .proceed
            case .proving(let challenge):
                let status = try JSON.decode(ControlAPI.EnrolmentStatus.self, from: reply.body)
                stage = .polling(challenge.request)
                return outcome(of: status, isNews: true)
            case .polling:
                return outcome(of: try JSON.decode(ControlAPI.EnrolmentStatus.self, from: reply.body), isNews: false)
            }
        } catch {
            return .retry("the control plane's answer can't be read: \(error)")
        }
    }

    private func outcome(of status: ControlAPI.EnrolmentStatus, isNews: Bool) -> Outcome {
        switch status.status {
        case "approved":
            if let grant = status.grant { return .granted(grant) }
            return .retry("the control plane approved, but sent no grant")
        case "rejected":
            return .refused(.requestRejected, status.rejectionReason ?? "no reason given")
        default:
            return .awaitingApproval(isNews: isNews)
        }
    }

    private mutating func handleRefusal(_ reply: HTTPReply) -> Outcome {
        guard let problem = try? JSON.decode(Problem.self, from: reply.body), let code = problem.code else {
            return .retry("the control plane answered with status \(reply.status)")
        }
        if code == .notFound, case .posting = stage {
        } else if code == .notFound {
            stage = .posting
            return .retry("the control plane no longer knows the join request")
        }
        return code.isTransient ? .retry(problem.detail) : .refused(code, problem.detail)
    }
}
