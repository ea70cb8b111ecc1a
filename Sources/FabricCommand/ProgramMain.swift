public import ArgumentParser
internal import Foundation

/// What every program of the product does alike with its command line.
extension ParsableCommand {
    /// Parses, runs and ends the process: the body of a program's `main`.
    ///
    /// Status 0: done as asked, or help was. 1: it failed. 2: wrong usage. Others are those of an `ExitCode` that the
    /// command throws, which prints nothing more. Errors go to standard error, with the program's name in front.
    public static func runAsProgram() -> Never {
        do {
            var command = try parseAsRoot()
            try command.run()
            Foundation.exit(0)
        } catch let code as ExitCode {
            Foundation.exit(code.rawValue)
        } catch {
            let code = exitCode(for: error)
            let isUsage = code == .validationFailure
            let name = configuration.commandName ?? "\(self)"
            let text =
                if let error = error as? ValidationError {
                    "\(name): \(error.message)"  // ours; the parser's own come with the usage
                } else if isUsage || code == .success {
                    fullMessage(for: error)
                } else {
                    "\(name): \(error)"
                }
            (code == .success ? FileHandle.standardOutput : .standardError).write(Data((text + "\n").utf8))
            Foundation.exit(code == .success ? 0 : isUsage ? 2 : 1)
        }
    }
}
