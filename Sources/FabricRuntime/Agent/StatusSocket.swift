internal import Glibc

/// A Unix socket that answers each connection with one JSON document and closes. Local tools read it; it takes no commands.
final class StatusSocket {
    /// Connections answered in one turn of the loop.
    static let turnLimit = 16
    /// SO_SNDBUFFORCE.
    private static let forcedSendBuffer: Int32 = 32

    let path: String
    let descriptor: Int32

    init(path: String) throws {
        self.path = path
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | 0o2000000 | 0o4000, 0)
        guard descriptor >= 0 else { throw StatusSocketError(path: path, code: errno) }
        unlink(path)
        var address = try StatusSocket.address(path)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, chmod(path, 0o600) == 0, listen(descriptor, 16) == 0 else {
            let code = errno
            Glibc.close(descriptor)
            throw StatusSocketError(path: path, code: code)
        }
    }

    /// Answers those that wait. A reader that does not read gets what fits its buffer, and no more: packets wait meanwhile.
    func serve(_ document: [UInt8]) {
        for _ in 0..<Self.turnLimit {
            let connection = accept(descriptor, nil, nil)
            if connection < 0 { return }
            // What the socket holds is sent when the reader reads. Beyond the usual size only a privileged agent may go.
            var room = Int32(clamping: 2 * document.count)
            setsockopt(
                connection, SOL_SOCKET, StatusSocket.forcedSendBuffer, &room, socklen_t(MemoryLayout<Int32>.size))
            var offset = 0
            while offset < document.count {
                let sent = document.withUnsafeBytes {
                    send(
                        connection, $0.baseAddress! + offset, $0.count - offset,
                        Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
                }
                if sent <= 0 { break }
                offset += sent
            }
            Glibc.close(connection)
        }
    }

    func close() {
        Glibc.close(descriptor)
        unlink(path)
    }

    static func address(_ path: String) throws -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard bytes.count < capacity else { throw StatusSocketError(path: path, code: ENAMETOOLONG) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return address
    }
}

public struct StatusSocketError: Error, CustomStringConvertible {
    var path: String
    var code: Int32

    public var description: String {
        "the status socket \(path) can't be used: \(String(cString: strerror(code)))\(mend)"
    }

    private var mend: String {
        switch code {
        case EROFS: "; it stands beside the state directory: mount that file system writable, or name another --state"
        case EACCES, EPERM: "; run as its owner, or give its directory to user \(geteuid()), who runs this"
        case ENAMETOOLONG: "; name a shorter --state"
        default: ""
        }
    }
}

/// Reads an agent's status document from its socket.
public enum StatusReader {
    /// Room for a status with 10,000 peers.
    public static let maximumBytes = 16 << 20

    public static func read(path: String) throws -> [UInt8] {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | 0o2000000, 0)
        guard descriptor >= 0 else { throw StatusSocketError(path: path, code: errno) }
        defer { close(descriptor) }
        var address = try StatusSocket.address(path)
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else { throw StatusSocketError(path: path, code: errno) }
        var document: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while document.count < maximumBytes {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0 { throw StatusSocketError(path: path, code: errno) }
            if count == 0 { break }
            document += chunk[..<count]
        }
        return document
    }
}
