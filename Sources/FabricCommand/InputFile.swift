internal import Foundation

/// A file that a person named on a command line.
public enum InputFile {
    /// The file can't be read; the text says which, why, and what mends it.
    public struct Unreadable: Error, CustomStringConvertible {
        public let description: String
    }

    /// Bytes.
    public static func size(_ path: String) throws(Unreadable) -> Int64 {
        var status = stat()
        guard stat(path, &status) == 0 else { throw refusal(path, errno) }
        guard status.st_mode & S_IFMT != S_IFDIR else {
            throw Unreadable(description: "\(path) is a directory; name a file in it")
        }
        return Int64(status.st_size)
    }

    /// The file's bytes, or its first `limit + 1` when it has more: a device or a pipe may have no end.
    public static func read(_ path: String, limit: Int) throws(Unreadable) -> [UInt8] {
        _ = try size(path)
        guard let handle = fopen(path, "re") else { throw refusal(path, errno) }
        defer { fclose(handle) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= limit {
            let count = fread(&chunk, 1, min(chunk.count, limit + 1 - bytes.count), handle)
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        guard ferror(handle) == 0 else { throw refusal(path, errno) }
        return bytes
    }

    private static func refusal(_ path: String, _ code: Int32) -> Unreadable {
        let mend =
            switch code {
            case ENOENT: "there is no such file"
            case EACCES: "its permissions forbid it"
            default: String(cString: strerror(code))
            }
        return Unreadable(description: "\(path) can't be read: \(mend)")
    }
}
