internal import Foundation
internal import Glibc

/// Where a run keeps states, logs and captures. It has a short path, as Unix sockets need one; what is to be kept is
/// copied at the end.
struct WorkFolder: Sendable {
    let path: String
    var states: String { path + "/states" }
    var logs: String { path + "/logs" }
    var captures: String { path + "/captures" }
    var secrets: String { path + "/secrets" }

    private static let parent = "/tmp"
    /// Then the number of the process that made it, so that what a killed run left can be told.
    private static let prefix = "rap-live-"

    init() throws(LiveFailure) {
        var template = Array("\(Self.parent)/\(Self.prefix)\(getpid()).XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw LiveFailure("no folder can be made in /tmp: \(String(cString: strerror(errno)))")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        for folder in [states, logs, captures, secrets] {
            guard mkdir(folder, 0o700) == 0 else {
                throw LiveFailure("\(folder) can't be made: \(String(cString: strerror(errno)))")
            }
        }
    }

    /// Copies all but sockets to a folder, which is made with mode 0700 when it is not there.
    func copy(_ source: String, to target: String) throws {
        let files = FileManager.default
        if !files.fileExists(atPath: target) {
            try files.createDirectory(
                atPath: target, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        }
        for name in try files.contentsOfDirectory(atPath: source).sorted() {
            let from = "\(source)/\(name)"
            let to = "\(target)/\(name)"
            switch try files.attributesOfItem(atPath: from)[.type] as? FileAttributeType {
            case .typeDirectory?: try copy(from, to: to)
            case .typeSocket?: break
            default:
                if files.fileExists(atPath: to) { try files.removeItem(atPath: to) }
                try files.copyItem(atPath: from, toPath: to)
            }
        }
    }

    /// Removes the folders whose makers are no longer there; returns their paths.
    static func removeLeftovers() throws -> [String] {
        let names = try FileManager.default.contentsOfDirectory(atPath: parent).sorted().filter { name in
            guard name.hasPrefix(prefix), let maker = Int32(name.dropFirst(prefix.count).prefix { $0 != "." }) else {
                return false
            }
            return kill(maker, 0) != 0 && errno == ESRCH
        }
        for name in names { try FileManager.default.removeItem(atPath: "\(parent)/\(name)") }
        return names.map { "\(parent)/\($0)" }
    }

    func remove() throws { try FileManager.default.removeItem(atPath: path) }

    /// The last lines of a log, for a message about the program that wrote it.
    func tail(_ log: String, lines: Int = 8) -> String {
        guard let text = try? String(contentsOfFile: "\(logs)/\(log).log", encoding: .utf8) else { return "" }
        return text.split(separator: "\n").suffix(lines).map { "    \($0)" }.joined(separator: "\n")
    }
}
