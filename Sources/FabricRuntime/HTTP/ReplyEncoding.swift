internal import FabricWire
internal import NIOCore

/// A reply as HTTP/1.1 writes it (RFC 9112), in one buffer.
enum ReplyEncoding {
    /// Seconds that Retry-After asks for on 429 and 503.
    static let retryAfterSeconds = 2

    static func encode(_ reply: HTTPReply, closes: Bool, allocator: ByteBufferAllocator) -> ByteBuffer {
        var buffer = allocator.buffer(capacity: reply.body.count + 256)
        buffer.writeString("HTTP/1.1 \(reply.status) \(reason(reply.status))\r\n")
        // 204 and 304 have neither body nor length (RFC 9110 section 8.6).
        let hasBody = reply.status != 204 && reply.status != 304
        if hasBody {
            buffer.writeString("content-length: \(reply.body.count)\r\n")
            if !reply.body.isEmpty { buffer.writeString("content-type: \(fieldValue(reply.contentType))\r\n") }
        }
        buffer.writeString("cache-control: no-store\r\n")
        switch reply.status {
        case 401: buffer.writeString("www-authenticate: Bearer\r\n")
        case 429, 503: buffer.writeString("retry-after: \(retryAfterSeconds)\r\n")
        default: break
        }
        if closes { buffer.writeString("connection: close\r\n") }
        buffer.writeString("\r\n")
        if hasBody { buffer.writeBytes(reply.body) }
        return buffer
    }

    static let continueHead = "HTTP/1.1 100 Continue\r\n\r\n"

    /// Printable ASCII only, so that no value can end its field.
    private static func fieldValue(_ text: String) -> String {
        String(decoding: text.utf8.filter { (0x20...0x7E).contains($0) }, as: UTF8.self)
    }

    /// Empty for codes not listed: clients go by the number.
    private static func reason(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 204: "No Content"
        case 304: "Not Modified"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 413: "Content Too Large"
        case 415: "Unsupported Media Type"
        case 417: "Expectation Failed"
        case 422: "Unprocessable Content"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 503: "Service Unavailable"
        default: ""
        }
    }
}
