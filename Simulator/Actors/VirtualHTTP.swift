internal import FabricCore
internal import FabricWire

/// HTTP over virtual streams: one message each way, matched by number. The layout is the simulator's own, since on Linux this
/// part is NIO's; sizes are close to HTTP/1.1's, which is what links and queues see.
///
/// ```
/// request  number u64 | lengths u32 × 3 (target, bearer, body) | method u8 | target | bearer | body
/// reply    number u64 | status u16 | problem u8 | body
/// ```
enum VirtualHTTP {
    /// What HTTP/1.1 heads add to a message.
    static let headBytes = 180

    static func encode(_ request: HTTPRequest, number: UInt64) -> [UInt8] {
        var target = request.path
        for (index, item) in request.query.enumerated() {
            target += (index == 0 ? "?" : "&") + item.name + "=" + item.value
        }
        let bearer = Array((request.bearer ?? "").utf8)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(headBytes + target.utf8.count + bearer.count + request.body.count)
        append(number, 8, &bytes)
        append(UInt64(target.utf8.count), 4, &bytes)
        append(UInt64(bearer.count), 4, &bytes)
        append(UInt64(request.body.count), 4, &bytes)
        bytes.append(UInt8(methods.firstIndex(of: request.method)!))
        bytes += target.utf8
        bytes += bearer
        bytes += request.body
        bytes += repeatElement(0, count: headBytes)
        return bytes
    }

    static func decodeRequest(_ bytes: [UInt8]) -> (number: UInt64, request: HTTPRequest) {
        let number = read(bytes, 0, 8)
        let target = bytes[21..<21 + Int(read(bytes, 8, 4))]
        let bearer = bytes[target.endIndex..<target.endIndex + Int(read(bytes, 12, 4))]
        let body = bytes[bearer.endIndex..<bearer.endIndex + Int(read(bytes, 16, 4))]
        // By bytes: to find characters in a text takes longer than the rest of a request's way.
        let (path, items) = halves(of: target, at: UInt8(ascii: "?"))
        let query = items.split(separator: UInt8(ascii: "&")).map { item in
            let (name, value) = halves(of: item, at: UInt8(ascii: "="))
            return HTTPRequest.QueryItem(text(name), text(value))
        }
        return (
            number,
            HTTPRequest(
                methods[Int(bytes[20])], text(path), query: query, bearer: bearer.isEmpty ? nil : text(bearer),
                body: Array(body))
        )
    }

    private static let methods = HTTPMethod.allCases

    private static func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

    /// What stands before the first such byte, and what behind it.
    private static func halves(
        of bytes: ArraySlice<UInt8>, at separator: UInt8
    ) -> (ArraySlice<UInt8>, ArraySlice<UInt8>) {
        guard let index = bytes.firstIndex(of: separator) else { return (bytes, []) }
        return (bytes[..<index], bytes[(index + 1)...])
    }

    static func encode(_ reply: HTTPReply, number: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(headBytes + reply.body.count)
        append(number, 8, &bytes)
        append(UInt64(reply.status), 2, &bytes)
        bytes.append(reply.contentType == HTTPReply.problemJSON ? 1 : 0)
        append(UInt64(reply.body.count), 4, &bytes)
        bytes += reply.body
        bytes += repeatElement(0, count: headBytes)
        return bytes
    }

    static func decodeReply(_ bytes: [UInt8]) -> (number: UInt64, reply: HTTPReply) {
        let length = Int(read(bytes, 11, 4))
        return (
            read(bytes, 0, 8),
            HTTPReply(
                status: Int(read(bytes, 8, 2)), contentType: bytes[10] == 1 ? HTTPReply.problemJSON : HTTPReply.json,
                body: Array(bytes[15..<15 + length]))
        )
    }

    private static func append(_ value: UInt64, _ count: Int, _ bytes: inout [UInt8]) {
        for index in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
    }

    private static func read(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<count { value |= UInt64(bytes[offset + index]) << UInt64(8 * index) }
        return value
    }
}
