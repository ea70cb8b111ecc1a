// The pieces of an enrolment, each alone.

import FabricControl
import FabricCore
import FabricCrypto
import FabricDocument
import FabricIdentity
import FabricOperator
import FabricWire

/// Microseconds per enrolment that a piece takes, alone.
struct Piece {
    var name: String
    var microseconds: Double
}

/// - Parameter messages: the requests and replies of one enrolment, by step.
func measurePieces(
    _ bench: ControlBench, _ messages: [Step: (request: HTTPRequest, reply: HTTPReply)]
) throws -> [Piece] {
    let repetitions = 300
    func piece(_ name: String, _ body: () throws -> Void) rethrows -> Piece {
        let spent = try Clock.processor.measure { for _ in 0..<repetitions { try body() } }
        return Piece(name: name, microseconds: spent / Double(repetitions) / 1000)
    }
    let cryptography = bench.cryptography
    let certificates = bench.certificates
    let random = bench.random

    let seed = random.bytes(32)
    let publicKey = try cryptography.ed25519PublicKey(seed: seed)
    let node = FabricIdentifier.node(
        FabricIdentifier.nodeID(identityKey: publicKey, cryptography), in: bench.cluster.cluster)
    let request = try certificates.makeRequest(seed: seed, spiffeID: node)
    let root = bench.cluster.rootCertificate.bytes
    let validity = bench.now.wall - .seconds(60)..<bench.now.wall + .seconds(3600)
    var serial = random.bytes(16)
    serial[0] = serial[0] & 0x7F | 0x40
    let approval = try JSON.decode(ControlAPI.Approval.self, from: messages[.approve]!.request.body)
    let approver = try cryptography.ed25519PublicKey(seed: bench.cluster.approverSeed.bytes)
    let privateKey = random.bytes(32)
    let otherKey = try cryptography.x25519PublicKey(privateKey: random.bytes(32))

    return [
        try piece("certificate: CSR checked, issuer parsed, leaf issued") {
            _ = try certificates.inspectRequest(request)
            _ = try certificates.inspect(root)
            _ = try certificates.issueLeaf(
                issuer: root, issuerSeed: bench.cluster.rootSeed.bytes, publicKey: publicKey, spiffeID: node,
                dnsNames: [], serial: serial, validity: validity)
        },
        try piece("X25519: challenge, 2 keys checked, 2 proofs") {
            _ = try cryptography.x25519PublicKey(privateKey: privateKey)
            for _ in 0..<4 { _ = try cryptography.x25519(privateKey: privateKey, publicKey: otherKey) }
        },
        try piece("admission's signature verified") {
            _ = try approval.admission.open(Admission.self, keys: [approver], threshold: 1, cryptography)
        },
        try piece("JSON of requests and replies") {
            _ = try JSON.decode(ControlAPI.NewEnrolment.self, from: messages[.enrol]!.request.body)
            _ = try JSON.decode(ControlAPI.Proof.self, from: messages[.prove]!.request.body)
            _ = try JSON.decode(ControlAPI.Approval.self, from: messages[.approve]!.request.body)
            try roundTrip(ControlAPI.Challenge.self, messages[.enrol]!.reply)
            try roundTrip(ControlAPI.EnrolmentStatus.self, messages[.prove]!.reply)
            try roundTrip(ControlAPI.JoinRequestView.self, messages[.approve]!.reply)
            try roundTrip(ControlAPI.EnrolmentStatus.self, messages[.status]!.reply)
        },
    ]
}

/// The control plane encodes a reply; decoding it here stands for the rows that it decodes to make it.
private func roundTrip<Document: Codable>(_ type: Document.Type, _ reply: HTTPReply) throws {
    _ = JSON.encodeOwn(try JSON.decode(type, from: reply.body))
}
