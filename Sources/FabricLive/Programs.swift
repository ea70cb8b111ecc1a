internal import Glibc

/// The programs under test: those that stand beside this one.
struct Programs: Sendable {
    var control: String
    var agent: String
    var person: String

    init() throws(LiveFailure) {
        let folder = try Programs.ownFolder()
        func find(_ name: String) throws(LiveFailure) -> String {
            let path = "\(folder)/\(name)"
            guard access(path, X_OK) == 0 else {
                throw LiveFailure("\(path) is missing: build it with “swift build --product \(name)”")
            }
            return path
        }
        control = try find("rap-control")
        agent = try find("rap-node-agent")
        person = try find("rap")
    }

    private static func ownFolder() throws(LiveFailure) -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        guard count > 0 else { throw LiveFailure("/proc/self/exe can't be read: \(String(cString: strerror(errno)))") }
        let path = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }
}
