internal import FabricWire

/// A request's target and fields as HTTP/1.1 writes them (RFC 9112), or what is wrong with it.
enum RequestEncoding {
    static func head(_ request: HTTPRequest, host: String) throws(HTTPClientError)
        -> (target: String, headers: [(String, String)])
    {
        guard request.path.utf8.first == UInt8(ascii: "/") else { throw .badRequest("the path is not absolute") }
        var target = encode(request.path, keeping: "-._~/:@!$&'()*+,;=")
        for (index, item) in request.query.enumerated() {
            target += index == 0 ? "?" : "&"
            target += encode(item.name, keeping: "-._~") + "=" + encode(item.value, keeping: "-._~")
        }
        var headers = [("host", host), ("accept", "\(HTTPReply.json), \(HTTPReply.problemJSON)")]
        if let bearer = request.bearer {
            // A line break in a pasted token must not become a header of its own.
            guard isBearerToken(bearer) else { throw .badRequest("the bearer token has characters that none has") }
            headers.append(("authorization", "Bearer " + bearer))
        }
        if !request.body.isEmpty { headers.append(("content-type", HTTPReply.json)) }
        if !request.body.isEmpty || request.method != .get {
            headers.append(("content-length", String(request.body.count)))
        }
        return (target, headers)
    }

    /// Percent-encodes all bytes but letters, digits and `kept` (RFC 3986).
    private static func encode(_ text: String, keeping kept: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 48...57, 65...90, 97...122: bytes.append(byte)
            case _ where kept.utf8.contains(byte): bytes.append(byte)
            default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
