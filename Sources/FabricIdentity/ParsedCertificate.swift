internal import FabricCore
internal import SwiftASN1

/// A version 3 certificate (RFC 5280 section 4.1) with an Ed25519 key, signed with Ed25519. Nothing else is read.
final class ParsedCertificate {
    /// Of the content octets, RFC 5280 section 4.1.2.2.
    static let maximumSerialLength = 20

    let der: [UInt8]
    let structure: SignedStructure
    let serial: [UInt8]
    let issuer: [UInt8]
    let subject: [UInt8]
    let notBefore: CertificateTime
    let notAfter: CertificateTime
    let publicKey: [UInt8]
    let extensions: CertificateExtensions

    convenience init(_ der: [UInt8]) throws(CertificateError) {
        self.init(try SignedStructure.decoding("a certificate") { try Fields(der) })
    }

    private init(_ fields: Fields) {
        der = fields.der
        structure = fields.structure
        serial = fields.serial
        issuer = fields.issuer
        subject = fields.subject
        notBefore = fields.notBefore
        notAfter = fields.notAfter
        publicKey = fields.publicKey
        extensions = fields.extensions
    }

    var validity: Range<WallTime> { notBefore.start..<max(notBefore.start, notAfter.end) }

    func facts() throws(CertificateError) -> CertificateFacts {
        let spiffeID = try spiffeID()
        return CertificateFacts(
            spiffeID: spiffeID.text, publicKey: publicKey, serial: serial, validity: validity)
    }

    func spiffeID() throws(CertificateError) -> SPIFFEID {
        guard extensions.uris.count == 1 else {
            throw .violates("a certificate names exactly one URI, this one \(extensions.uris.count)")
        }
        guard let spiffeID = SPIFFEID(extensions.uris[0]) else {
            throw .violates("its URI is not a SPIFFE ID")
        }
        return spiffeID
    }

    private struct Fields {
        var der: [UInt8]
        var structure: SignedStructure
        var serial: [UInt8] = []
        var issuer: [UInt8] = []
        var subject: [UInt8] = []
        var notBefore = CertificateTime(seconds: 0)
        var notAfter = CertificateTime(seconds: 0)
        var publicKey: [UInt8] = []
        var extensions = CertificateExtensions()

        init(_ der: [UInt8]) throws {
            self.der = der
            structure = try SignedStructure(der)
            guard structure.toBeSigned.identifier == .sequence,
                case .constructed(let children) = structure.toBeSigned.content
            else { throw CertificateError.malformed("not a certificate") }
            var nodes = children.makeIterator()
            func next() throws -> ASN1Node {
                guard let node = nodes.next() else {
                    throw CertificateError.malformed("a certificate cut short")
                }
                return node
            }
            // Version 1 omits the field; only version 3 (the value 2) has the extensions that the rules speak of.
            let version = try next()
            guard version.identifier == .context(0), case .constructed(let inner) = version.content,
                let number = inner.first(where: { _ in true }), try Int(derEncoded: number) == 2
            else { throw CertificateError.violates("not an X.509 version 3 certificate") }
            serial = Array(try ArraySlice<UInt8>(derEncoded: next()))
            guard (1...ParsedCertificate.maximumSerialLength).contains(serial.count) else {
                throw CertificateError.malformed("a serial number of \(serial.count) bytes")
            }
            guard try AlgorithmIdentifier(next()).isEd25519 else {
                throw CertificateError.malformed("the two signature algorithms differ")
            }
            issuer = try DistinguishedName.decode(next())
            (notBefore, notAfter) = try DER.sequence(next(), identifier: .sequence) { nodes in
                guard let first = nodes.next(), let last = nodes.next() else {
                    throw CertificateError.malformed("no validity")
                }
                return (try CertificateTime(first), try CertificateTime(last))
            }
            subject = try DistinguishedName.decode(next())
            publicKey = try SubjectPublicKeyInfo.decode(next())
            guard let wrapped = nodes.next() else { return }
            guard wrapped.identifier == .context(3), case .constructed(let content) = wrapped.content
            else {
                throw CertificateError.malformed("unique identifiers are not supported")
            }
            var lists = content.makeIterator()
            guard let list = lists.next(), lists.next() == nil, nodes.next() == nil else {
                throw CertificateError.malformed("data after the extensions")
            }
            extensions = try CertificateExtensions(list)
        }
    }
}
