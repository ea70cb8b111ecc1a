internal import FabricWire

/// A request's head, judged: nothing here performs I/O, all of it takes bytes from strangers.
struct RequestHead {
    enum Verdict {
        case accepted(RequestHead)
        case refused(status: Int, Problem)
    }

    /// The body is still empty.
    var request: HTTPRequest
    var keepsAlive: Bool
    var expectsContinue: Bool
    /// From Content-Length; nil for a chunked body.
    var contentLength: Int?

    /// RFC 9110 and 9112, strictly: whatever two readers could read in two ways is refused.
    static func judge(
        method: String, target: String, minorVersion: Int, headers: [(name: String, value: String)],
        limits: HTTPServerLimits
    ) -> Verdict {
        do throws(Refusal) {
            let fields = Fields(headers)
            try fields.checkHostAndUpgrade(minorVersion: minorVersion)
            let contentLength = try fields.bodyLength(minorVersion: minorVersion)
            if let contentLength, contentLength > limits.bodyBytes { throw .tooLarge(limits) }
            guard let known = HTTPMethod(rawValue: method) else {
                throw Refusal(405, Problem(.methodNotAllowed, "\(method.prefix(16)) is not served here"))
            }
            let (path, query) = try parseTarget(target, limits: limits)
            try fields.checkContent()
            return .accepted(
                RequestHead(
                    request: HTTPRequest(known, path, query: query, bearer: try fields.bearer()),
                    keepsAlive: minorVersion >= 1 && !fields.tokens("connection").contains("close"),
                    expectsContinue: try fields.expectsContinue(minorVersion: minorVersion),
                    contentLength: contentLength))
        } catch {
            return .refused(status: error.status, error.problem)
        }
    }

    struct Refusal: Error {
        var status: Int
        var problem: Problem

        init(_ status: Int, _ problem: Problem) {
            self.status = status
            self.problem = problem
        }

        static func malformed(_ detail: String) -> Refusal { Refusal(400, Problem(.malformedRequest, detail)) }
        static func tooLarge(_ limits: HTTPServerLimits) -> Refusal {
            Refusal(413, Problem(.tooLarge, "the body may have at most \(limits.bodyBytes) bytes"))
        }
    }
}

// MARK: - Target

extension RequestHead {
    /// Path and query of an origin-form or absolute-form target, percent-decoded.
    static func parseTarget(_ target: String, limits: HTTPServerLimits) throws(Refusal)
        -> (path: String, query: [HTTPRequest.QueryItem])
    {
        var bytes = Array(target.utf8)[...]
        guard bytes.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .malformed("the request target has bytes other than visible ASCII; percent-encode them")
        }
        if bytes.starts(with: "https://".utf8) {
            bytes = bytes.dropFirst(8)
            bytes = bytes.firstIndex(of: UInt8(ascii: "/")).map { bytes[$0...] } ?? bytes[bytes.endIndex...]
        }
        guard bytes.first == UInt8(ascii: "/"), !bytes.contains(UInt8(ascii: "#")) else {
            throw .malformed("the request target is not an absolute path")
        }
        let mark = bytes.firstIndex(of: UInt8(ascii: "?")) ?? bytes.endIndex
        let path = try parsePath(bytes[..<mark])
        let items = bytes[mark...].dropFirst().split(separator: UInt8(ascii: "&"))
        guard items.count <= limits.queryItems else {
            throw .malformed("more than \(limits.queryItems) query parameters")
        }
        var query: [HTTPRequest.QueryItem] = []
        for item in items {
            let parts = item.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            query.append(
                .init(
                    try decode(parts[0], plusIsSpace: true),
                    parts.count == 2 ? try decode(parts[1], plusIsSpace: true) : ""))
        }
        return (path, query)
    }

    private static func parsePath(_ bytes: ArraySlice<UInt8>) throws(Refusal) -> String {
        let path = try decode(bytes, plusIsSpace: false)
        // An encoded slash or a dot segment would make a path of other segments than the one that was sent.
        guard path.utf8.count(where: { $0 == UInt8(ascii: "/") }) == bytes.count(where: { $0 == UInt8(ascii: "/") }),
            !path.utf8.split(separator: UInt8(ascii: "/")).contains(where: {
                $0.elementsEqual(".".utf8) || $0.elementsEqual("..".utf8)
            })
        else { throw .malformed("the path has an encoded slash or a dot segment") }
        return path
    }

    private static func decode(_ bytes: ArraySlice<UInt8>, plusIsSpace: Bool) throws(Refusal) -> String {
        func digit(_ byte: UInt8) -> UInt8? {
            switch byte {
            case 48...57: byte - 48
            case 65...70: byte - 55
            case 97...102: byte - 87
            default: nil
            }
        }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var index = bytes.startIndex
        while index < bytes.endIndex {
            var byte = bytes[index]
            if byte == UInt8(ascii: "%") {
                guard index + 2 < bytes.endIndex, let high = digit(bytes[index + 1]), let low = digit(bytes[index + 2])
                else { throw .malformed("a percent sign is not followed by two hex digits") }
                byte = high << 4 | low
                index += 2
            } else if plusIsSpace, byte == UInt8(ascii: "+") {
                byte = UInt8(ascii: " ")
            }
            guard byte >= 0x20, byte != 0x7F else { throw .malformed("the request target encodes a control character") }
            decoded.append(byte)
            index += 1
        }
        guard let text = String(validating: decoded, as: UTF8.self) else {
            throw .malformed("the request target is not UTF-8")
        }
        return text
    }
}

// MARK: - Fields

extension RequestHead {
    /// The header fields that mean something here; others are ignored.
    private struct Fields {
        private let headers: [(name: String, value: String)]

        init(_ headers: [(name: String, value: String)]) {
            self.headers = headers.map { ($0.name.lowercased(), $0.value) }
        }

        func values(_ name: String) -> [String] { headers.filter { $0.name == name }.map(\.value) }

        /// A comma-separated list, in lower case.
        func tokens(_ name: String) -> [String] {
            values(name).flatMap { $0.lowercased().split(separator: ",").map(trimmed) }
        }

        private func trimmed(_ text: some StringProtocol) -> String {
            String(text.drop { $0 == " " || $0 == "\t" }.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
        }

        func checkHostAndUpgrade(minorVersion: Int) throws(Refusal) {
            let hosts = values("host").count
            guard hosts == 1 || (hosts == 0 && minorVersion == 0) else {
                throw .malformed("a request carries one Host field, this one \(hosts)")
            }
            guard values("upgrade").isEmpty else { throw .malformed("no other protocol is offered for Upgrade") }
        }

        /// Nil for a chunked body, else its length.
        func bodyLength(minorVersion: Int) throws(Refusal) -> Int? {
            let codings = tokens("transfer-encoding")
            let lengths = values("content-length")
            if !values("transfer-encoding").isEmpty {
                guard lengths.isEmpty, minorVersion >= 1 else {
                    throw .malformed("Transfer-Encoding stands beside Content-Length or in HTTP/1.0")
                }
                guard codings == ["chunked"] else {
                    throw Refusal(501, Problem(.malformedRequest, "the one transfer coding served is chunked"))
                }
                return nil
            }
            guard let length = lengths.first else { return 0 }
            guard lengths.count == 1, length.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(length)
            else {
                throw .malformed("Content-Length is not one number")
            }
            return number
        }

        func checkContent() throws(Refusal) {
            guard values("content-encoding").allSatisfy({ $0.lowercased() == "identity" }) else {
                throw Refusal(415, Problem(.malformedRequest, "content codings such as gzip are not served"))
            }
            for type in values("content-type") {
                let media = trimmed((type.split(separator: ";").first ?? "").lowercased())
                guard media == "application/json" else {
                    throw Refusal(415, Problem(.malformedRequest, "bodies are application/json"))
                }
            }
        }

        /// The token of RFC 6750; nil when there is no such credential.
        func bearer() throws(Refusal) -> String? {
            let credentials = values("authorization")
            guard let credential = credentials.first else { return nil }
            guard credentials.count == 1 else { throw .malformed("more than one Authorization field") }
            let parts = credential.split(separator: " ", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
            let token = trimmed(parts[1])
            guard isBearerToken(token) else { throw .malformed("the bearer token has characters that none has") }
            return token
        }

        func expectsContinue(minorVersion: Int) throws(Refusal) -> Bool {
            let expectations = tokens("expect")
            guard expectations.allSatisfy({ $0 == "100-continue" }) else {
                throw Refusal(417, Problem(.malformedRequest, "the one expectation served is 100-continue"))
            }
            return !expectations.isEmpty && minorVersion >= 1
        }
    }
}

/// Whether `token` has the form of RFC 6750's `b64token`.
func isBearerToken(_ token: String) -> Bool {
    let body = token.utf8.reversed().drop { $0 == UInt8(ascii: "=") }
    return !body.isEmpty
        && body.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || "-._~+/".utf8.contains($0)
        }
}
